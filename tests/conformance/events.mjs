// The published client of GraphQL over SSE, in its "distinct connections" mode.
import assert from "node:assert/strict";
import { createClient } from "graphql-sse";
import { CHANGES, authorization, here, httpUrl, openClient } from "./api.mjs";
import { run } from "./checks.mjs";

const clientWith = (token) =>
  createClient({ url: httpUrl, retryAttempts: 0, headers: { authorization: token } });

await run({
  "graphql-sse: a query": async () => {
    const answers = clientWith(authorization).iterate({ query: "{ viewer { role } }" });
    assert.equal((await answers.next()).value.data.viewer.role, "ADMIN");
    assert.equal((await answers.next()).done, true);
  },
  "graphql-sse: a subscription, ended by the client": async () => {
    const client = clientWith(authorization);
    const answers = client.iterate({ query: CHANGES, variables: { after: await here() } });
    for (const _ of [1, 2]) {
      let next = answers.next();
      const number = await openClient();
      // What was done while an older transaction was under way may be told again.
      while ((await next).value.data.changes.client.number !== number) next = answers.next();
    }
    await answers.return();
    client.dispose();
  },
  "graphql-sse: errors of a document": async () => {
    const answers = clientWith(authorization).iterate({ query: "{ nothing }" });
    const { value } = await answers.next();
    assert.equal(value.errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
    assert.equal((await answers.next()).done, true);
  },
  "graphql-sse: a stranger": async () => {
    await assert.rejects(clientWith("Bearer nobody").iterate({ query: "{ viewer { role } }" }).next());
  },
});
