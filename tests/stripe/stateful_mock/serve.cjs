// Serves stripe-stateful-mock on a free port of this machine, prints the port, and ends when its
// input does.

const { createExpressApp } = require('stripe-stateful-mock');

const server = createExpressApp().listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
