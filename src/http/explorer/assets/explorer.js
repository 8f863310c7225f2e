// GraphiQL, loaded when it is first looked at: its files are large and the first view does not need them.

import { examples } from './examples.js';
import { execute } from './session.js';
import { el } from './dom.js';

let root = null;
let wanted = 0;

/** Shows GraphiQL in this element for the present token. */
export async function open(host) {
  if (root) return;
  const turn = ++wanted;
  host.replaceChildren(el('p', { class: 'loading' }, 'Loading the explorer…'));
  try {
    const [shown] = await Promise.all([examples(), load()]);
    if (turn !== wanted) return;
    const mount = el('div', { class: 'graphiql-host' });
    host.replaceChildren(mount);
    root = window.ReactDOM.createRoot(mount);
    const defaultTabs = shown.map(({ query, variables }) => ({ query, variables: JSON.stringify(variables, null, 2) }));
    root.render(window.React.createElement(window.GraphiQL, {
      fetcher: (request) => execute(request),
      defaultTabs,
      // GraphiQL 4 forgets the variables of the first default tab. Where it remembers tabs of its own,
      // ours are not shown, and variables without their query would open a tab of their own.
      variables: localStorage.getItem('graphiql:tabState') === null ? defaultTabs[0].variables : undefined,
      defaultEditorToolsVisibility: 'variables',
      isHeadersEditorEnabled: false,
    }));
  } catch (fault) {
    if (turn === wanted) host.replaceChildren(el('p', { class: 'notice bad', role: 'alert' }, fault.message));
  }
}

/** Takes GraphiQL away: the next caller may not see what this one asked. */
export function close(host) {
  wanted += 1;
  root?.unmount();
  root = null;
  host.replaceChildren();
}

let loaded = null;

function load() {
  loaded ??= (async () => {
    document.head.append(el('link', { rel: 'stylesheet', href: '/assets/graphiql.min.css' }));
    for (const file of ['react.production.min.js', 'react-dom.production.min.js', 'graphiql.min.js']) await script(file);
  })().catch((fault) => {
    loaded = null;
    throw fault;
  });
  return loaded;
}

function script(file) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error(`${file} could not be loaded.`));
    document.head.append(el('script', { src: `/assets/${file}`, onload: resolve, onerror: failed }));
  });
}
