// An OpenID Connect provider on loopback, certified software. It has an account of every name; the
// names of staff have the claim `roles`. Ends when its standard input ends.
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [port, workroom, client_secret] = process.argv.slice(2);
const roles = { "operator-1": ["operator", "mediator"], "mediator-1": ["mediator"] };
const provider = new Provider(`http://127.0.0.1:${port}`, {
  claims: { openid: ["sub", "roles"] },
  clients: [
    {
      client_id: "workroom",
      client_secret,
      redirect_uris: [`${workroom}/signed-in`],
      post_logout_redirect_uris: [`${workroom}/`],
    },
  ],
  conformIdTokenClaims: false,
  cookies: { keys: ["a-key-for-cookies"] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, roles: roles[id] }) }),
  pkce: { required: () => true },
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log(port));
process.stdin.resume().on("end", () => process.exit(0));
