// npm's oidc-provider, an OpenID-certified implementation, with one client. Its own pages ask for a
// name and any password, then for consent: `node oidc_provider.mjs FOLDER PORT REDIRECT_URI`.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [folder, port, redirectUri] = process.argv.slice(2);
const found = createRequire(`${folder}/package.json`).resolve('oidc-provider');
const { Provider } = await import(pathToFileURL(found));

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: 'workbook', client_secret: 'known-to-the-test', redirect_uris: [redirectUri] }],
  cookies: { keys: ['known-to-the-test'] },
  claims: { email: ['email', 'email_verified'], profile: ['name', 'preferred_username'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      name: `${id} Example`,
      preferred_username: id,
      email: `${id}@example.com`,
      email_verified: true,
    }),
  }),
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
