// The caller's token and the calls that use, obtain or renew it. The tokens live in
// sessionStorage only: one browser tab, gone when the tab closes.

const KEY = 'encours.token';
const REFRESH = 'encours.refreshToken';
const listeners = new Set();

/** A refusal or a fault, with the code the API gave it. */
export class ApiError extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

export const token = () => sessionStorage.getItem(KEY);

/** Calls back whenever the token changes, with the reason when a session ended by itself. */
export const onChange = (listener) => listeners.add(listener);

/** Takes a token, and what renews it when there is such a thing; answers false when it cannot be a token. */
export function begin(text, refreshToken = null) {
  const candidate = text.trim().replace(/^Bearer\s+/i, '');
  if (!/^[\x21-\x7e]+$/.test(candidate)) return false;
  sessionStorage.setItem(KEY, candidate);
  sessionStorage.removeItem(REFRESH);
  if (refreshToken) sessionStorage.setItem(REFRESH, refreshToken);
  listeners.forEach((listener) => listener(null));
  return true;
}

/** Forgets the token; when the person leaves, the server forgets it too. */
export function end(reason = null) {
  const refreshToken = sessionStorage.getItem(REFRESH);
  if (refreshToken && reason === null) send('/auth/logout', { refreshToken }, {}).catch(() => {});
  sessionStorage.removeItem(KEY);
  sessionStorage.removeItem(REFRESH);
  listeners.forEach((listener) => listener(reason));
}

/** Takes the token of `#token=…`, and takes the fragment out of the address bar and the history. */
export function beginFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given === null) return false;
  history.replaceState(null, '', location.pathname + location.search);
  return begin(given);
}

/** Trades an e-mail address and a password for a token. */
export async function login(email, password) {
  const { response, body } = await send('/auth/login', { email, password }, {});
  if (!response.ok || !body?.token) throw refusal(response, body);
  if (!begin(body.token, body.refreshToken)) throw new ApiError('The server sent a token that cannot be used.');
}

let renewing = null;

/** Trades the refresh token for a new pair, once for all who ask meanwhile: it works once. */
function renew() {
  renewing ??= traded().finally(() => { renewing = null; });
  return renewing;
}

async function traded() {
  const refreshToken = sessionStorage.getItem(REFRESH);
  if (!refreshToken) return false;
  const { response, body } = await send('/auth/refresh', { refreshToken }, {});
  // The person may have left meanwhile.
  if (!response.ok || !body?.token || sessionStorage.getItem(REFRESH) !== refreshToken) return false;
  return begin(body.token, body.refreshToken);
}

/** Runs one GraphQL request and answers its body as it came, errors included. */
export async function execute(request, signal, renewed = false) {
  const held = token();
  const { response, body } = await send('/graphql', request, {
    headers: { accept: 'application/graphql-response+json, application/json;q=0.9', authorization: `Bearer ${held}` },
    signal,
  });
  if (response.status === 401 && !renewed && (token() !== held || await renew())) {
    return execute(request, signal, true);
  }
  if (response.status === 401 && token() === held) {
    end('Your session has ended, or the token is not valid here. Please sign in again.');
  }
  if (!body || typeof body !== 'object') throw refusal(response, null);
  return body;
}

/** Runs one GraphQL query and answers its data, or throws its first error. */
export async function query(document, variables, signal) {
  const body = await execute({ query: document, variables }, signal);
  if (body.errors?.length) throw new ApiError(body.errors[0].message, body.errors[0].extensions?.code);
  return body.data;
}

async function send(path, body, { headers = {}, signal }) {
  let response;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { accept: 'application/json', 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      credentials: 'omit',
      cache: 'no-store',
      signal,
    });
  } catch (fault) {
    if (fault.name === 'AbortError') throw fault;
    throw new ApiError('The server does not answer. Is it running?');
  }
  return { response, body: await response.json().catch(() => null) };
}

function refusal(response, body) {
  const wait = response.headers.get('retry-after');
  const error = body?.errors?.[0];
  if (error?.message) return new ApiError(error.message, error.extensions?.code);
  if (response.status === 429) return new ApiError(`Too many attempts. Try again in ${wait ?? 'a few'} seconds.`);
  return new ApiError(`The server answered with status ${response.status}.`);
}
