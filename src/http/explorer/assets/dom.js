// Small helpers over the DOM. Text is always set as text, never parsed as HTML.

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element: `el('td', { class: 'num', onclick: f }, 'text', child)`.
 * Attributes that are null, undefined or false are left out; so are such children.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style') node.style.cssText = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An English label with its French term, in a paler type. */
export const bilingual = (english, french) => [english, ' ', el('small', { lang: 'fr' }, french)];

/** An amount cell, right-aligned. */
export function amountCell(text, { zero, negative, ...attributes }) {
  const names = ['num', zero && 'zero', negative && 'negative', attributes.class].filter(Boolean).join(' ');
  return el('td', { ...attributes, class: names }, text);
}
