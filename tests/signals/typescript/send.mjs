// Sends every message to a purchase as another system would, and prints the answers as JSON.
//
//     node send.mjs <address> <<< '{"taskQueue": …, "target": …, "messages": …, "starts": …}'

import { readFileSync } from 'node:fs';
import { Client, Connection, WithStartWorkflowOperation } from '@temporalio/client';

const given = JSON.parse(readFileSync(0, 'utf8'));
const connection = await Connection.connect({ address: process.argv[2] });
const client = new Client({ connection });
const handle = client.workflow.getHandle(given.target);

/** Bad arguments, by the kind of mistake. */
const bad = (good) => ({
  nothing: [],
  undefined: [undefined],
  two: [good, good],
  null: [null],
  text: ['cancel'],
  number: [7],
  list: [[good]],
  'JSON in a string': [JSON.stringify(good)],
  bytes: [new TextEncoder().encode(JSON.stringify(good))],
  'unknown field': [{ ...good, surprise: 1 }],
  'wrong type': [{ ...good, by: 'client:ana' }],
});

/** The answer to an update: its receipt, or the code and text of its rejection. */
async function answer(call) {
  try {
    return { receipt: await call };
  } catch (error) {
    return { code: error.cause?.type ?? String(error), text: error.cause?.message ?? '' };
  }
}

const updates = {};
let signals = 0;
for (const [name, good] of Object.entries(given.messages)) {
  updates[name] = {};
  for (const [kind, args] of Object.entries(bad(good))) {
    updates[name][kind] = await answer(handle.executeUpdate(name, { args }));
    await handle.signal(name, ...args);
    signals += 1;
  }
}

const accepted = await answer(handle.executeUpdate('submit_requirements', {
  args: [given.messages.submit_requirements],
}));
await handle.signal('send_message', given.messages.send_message);

/** The options that start a purchase. Its id is used once, ever. */
const start = (input) => ({
  workflowId: `purchase-${input.purchase_id}`,
  taskQueue: given.taskQueue,
  workflowIdReusePolicy: 'REJECT_DUPLICATE',
  workflowIdConflictPolicy: 'USE_EXISTING',
  args: [input],
});

const [signalled, updated] = given.starts;
await client.workflow.signalWithStart('ProjectPurchase', {
  ...start(signalled),
  signal: 'submit_requirements',
  signalArgs: [given.messages.submit_requirements],
});
const updateWithStart = await answer(client.workflow.executeUpdateWithStart('submit_requirements', {
  args: [given.messages.submit_requirements],
  startWorkflowOperation: new WithStartWorkflowOperation('ProjectPurchase', start(updated)),
}));

console.log(JSON.stringify({ updates, signals, accepted, updateWithStart }));
await connection.close();
