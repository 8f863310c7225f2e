// The audits of GraphQL over HTTP that graphql-http publishes, as a member of the company: nobody else is answered.
//
// Prints one line of JSON for each audit: { id, name, passed, reason }.
import { serverAudits } from "graphql-http";

const { ENCOURS_URL, ENCOURS_TOKEN } = process.env;

const fetchFn = (url, init = {}) =>
  fetch(url, {
    ...init,
    headers: { ...init.headers, authorization: `Bearer ${ENCOURS_TOKEN}` },
  });

for (const audit of serverAudits({ url: `${ENCOURS_URL}/graphql`, fetchFn })) {
  const result = await audit.fn();
  const passed = result.status === "ok";
  const { id, name } = audit;
  console.log(JSON.stringify({ id, name, passed, reason: passed ? null : result.reason }));
}
