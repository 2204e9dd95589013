// Asking the server. The token lives in this tab only, and goes out as a header: no cookie, no URL.

const NAME = "zerog-token";

export class Refused extends Error {}

export const token = {
  get: () => sessionStorage.getItem(NAME) ?? "",
  set: (text) => sessionStorage.setItem(NAME, text.trim()),
};

/** The token of the address that `zerog serve` printed is taken out of it, so that it is in no history. */
export function takeToken() {
  const found = /^#token=([\x21-\x7e]+)$/.exec(location.hash);
  if (!found) return;
  token.set(found[1]);
  history.replaceState(null, "", `${location.pathname}#calls`);
}

export function headers() {
  const known = token.get();
  return known ? { Authorization: `Bearer ${known}` } : {};
}

export async function ask(path, options = {}) {
  const response = await fetch(`/console/api/${path}`, { ...options, headers: headers(), cache: "no-store", credentials: "omit" });
  if (response.ok) return response;
  let said = `HTTP ${response.status}`;
  try {
    said = (await response.json()).error.message;
  } catch {
    // not ours: the status says what is known
  }
  throw response.status === 401 ? new Refused(said) : new Error(said);
}

export const read = async (path, options) => (await ask(path, options)).json();
