// The page: who is signed in, and which of the two views is shown.

import * as account from './account.js';
import * as balance from './balance.js';
import * as explorer from './explorer.js';
import * as session from './session.js';
import { byId } from './dom.js';
import { documentOf } from './examples.js';

const views = { balance: byId('view-balance'), explorer: byId('view-explorer') };
const tabs = { balance: byId('tab-balance'), explorer: byId('tab-explorer') };
const names = Object.keys(tabs);
let shown = 'balance';

session.beginFromAddress();
session.onChange(refresh);
window.addEventListener('hashchange', () => session.beginFromAddress());

for (const name of names) tabs[name].addEventListener('click', () => show(name));
byId('tabs').addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft') return;
  const other = names.find((name) => name !== shown);
  show(other);
  tabs[other].focus();
});

byId('sign-out').addEventListener('click', () => session.end());
byId('copy-token').addEventListener('click', copyToken);

byId('paste').addEventListener('submit', (event) => {
  event.preventDefault();
  const taken = session.begin(new FormData(event.target).get('token'));
  if (!taken) notice('That is not a token: it holds spaces or letters that no token has.');
});

byId('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector('button');
  const { email, password } = Object.fromEntries(new FormData(form));
  notice(null);
  button.disabled = true;
  try {
    await session.login(email, password);
  } catch (fault) {
    notice(fault.message);
    form.elements.password.select();
  } finally {
    button.disabled = false;
  }
});

refresh(null);

/** Draws the page anew for the present token, or the sign-in form when there is none. */
function refresh(reason) {
  const signedIn = session.token() !== null;
  account.close();
  balance.close(views.balance);
  explorer.close(views.explorer);
  byId('view-welcome').hidden = signedIn;
  byId('tabs').hidden = !signedIn;
  byId('who').hidden = true;
  notice(reason);
  for (const name of names) views[name].hidden = true;
  if (!signedIn) {
    byId('login').elements.email.focus();
    return;
  }
  byId('login').reset();
  byId('paste').reset();
  show(shown);
  identify();
}

function show(name) {
  shown = name;
  for (const each of names) {
    views[each].hidden = each !== name;
    tabs[each].setAttribute('aria-selected', String(each === name));
    tabs[each].tabIndex = each === name ? 0 : -1;
  }
  if (name === 'balance') balance.open(views.balance);
  else explorer.open(views.explorer);
}

/** Fills the header with the person, role and company behind the token. */
async function identify() {
  const held = session.token();
  try {
    const { viewer } = await session.query(await documentOf('viewer'), {});
    if (session.token() !== held || !viewer) return;
    byId('who-company').textContent = viewer.company?.name ?? '';
    byId('who-name').textContent = viewer.name ?? '';
    byId('who-role').textContent = (viewer.role ?? '').replaceAll('_', ' ').toLowerCase();
    byId('who-role').title = (viewer.permissions ?? []).join('\n');
  } catch {
    // The views tell what is wrong; the way out must be there all the same.
    if (session.token() !== held) return;
    for (const id of ['who-company', 'who-name', 'who-role']) byId(id).textContent = '';
  }
  byId('who').hidden = false;
}

async function copyToken() {
  const button = byId('copy-token');
  const said = await navigator.clipboard?.writeText(session.token()).then(() => 'Copied', () => null) ?? 'Not allowed here';
  button.textContent = said;
  setTimeout(() => { button.textContent = 'Copy token'; }, 1500);
}

function notice(text) {
  byId('welcome-notice').textContent = text ?? '';
  byId('welcome-notice').hidden = !text;
}
