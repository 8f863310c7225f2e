// The server under test, and what the checks ask of it.

export const { ENCOURS_URL, ENCOURS_TOKEN, ENCOURS_SHORT_TOKEN } = process.env;
export const httpUrl = `${ENCOURS_URL}/graphql`;
export const socketUrl = httpUrl.replace(/^http/, "ws");
export const authorization = `Bearer ${ENCOURS_TOKEN}`;

export const CHANGES =
  "subscription($after: String) { changes(after: $after, topics: [CLIENTS]) { kind client { number } } }";

/** The data of a query or mutation. */
export async function ask(query, variables = {}) {
  const answer = await fetch(httpUrl, {
    method: "POST",
    headers: { "content-type": "application/json", authorization },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

/** The place in the feed behind everything so far. */
export async function here() {
  return (await ask('{ changes(after: "now") { endCursor } }')).changes.endCursor;
}

let opened = 0;

/** Opens a client, which the feed tells of; its number. */
export async function openClient() {
  opened += 1;
  const number = `N${process.pid}-${opened}`;
  const done = await ask(
    "mutation($input: CreateClientInput!) { createClient(input: $input) { client { number } userErrors { message } } }",
    { input: { number, name: `Client ${number}` } },
  );
  if (done.createClient.client?.number !== number) throw new Error(JSON.stringify(done));
  return number;
}
