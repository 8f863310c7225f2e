// A list of checks, run at once; prints one line of JSON for each: { id, name, passed, reason }.

export async function run(checks) {
  const ran = Object.entries(checks).map(async ([name, check]) => {
    try {
      await within(40_000, check());
      return { id: name, name, passed: true, reason: null };
    } catch (error) {
      return { id: name, name, passed: false, reason: String(error?.stack ?? error) };
    }
  });
  for (const result of await Promise.all(ran)) {
    console.log(JSON.stringify(result));
  }
  // What a failed check left open must not keep the process.
  process.exit(0);
}

/** The promise, or a failure when it takes longer. */
export function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

let last = Promise.resolve();

/** The check, with no other one of this kind beside it: what it opens is all that the feed tells of. */
export const alone = (check) => () => {
  const ran = last.then(check);
  last = ran.catch(() => {});
  return ran;
};
