// The example queries, from the server: the files of `examples/queries`.

import { today } from './format.js';

let loading = null;

/** Every example: `{ name, query, variables }`, in the order in which they are shown. */
export function examples() {
  loading ??= fetch('/assets/examples.json')
    .then((response) => {
      if (!response.ok) throw new Error('The example queries could not be loaded.');
      return response.json();
    })
    .then((files) => files.map(read))
    .catch((fault) => {
      loading = null;
      throw fault;
    });
  return loading;
}

/** The query of one example. */
export async function documentOf(name) {
  const found = (await examples()).find((example) => example.name === name);
  if (!found) throw new Error(`There is no example named ${name}.`);
  return found.query;
}

// The variables stand in a comment of the file; the day they name becomes today.
function read({ name, query }) {
  const comment = /^# Variables: (.*)\n/m;
  const variables = JSON.parse(comment.exec(query)?.[1] ?? '{}');
  if ('asOf' in variables) variables.asOf = today();
  return { name, query: query.replace(comment, ''), variables };
}
