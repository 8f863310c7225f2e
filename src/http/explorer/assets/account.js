// One client's account (compte client): balance and open items, in a drawer beside the aged balance.

import { query } from './session.js';
import { amountCell, bilingual, byId, el } from './dom.js';
import { documentOf } from './examples.js';
import { amount, day, isNegative, isZero } from './format.js';

const PAGE = 50;
const KINDS = {
  INVOICE: ['Invoice', 'facture'],
  CREDIT_NOTE: ['Credit note', 'avoir'],
  PAYMENT: ['Payment', 'règlement'],
  DEDUCTION: ['Deduction', 'déduction'],
  DEDUCTION_SETTLEMENT: ['Deduction settled', 'déduction soldée'],
  RETURN: ['Returned payment', 'impayé'],
  BILL: ['Bill of exchange', 'effet'],
};

const drawer = byId('account');
let request = null;

drawer.addEventListener('close', () => request?.abort());
// A click on the backdrop is a click on the dialog itself, outside its box.
drawer.addEventListener('click', (event) => {
  const box = drawer.getBoundingClientRect();
  if (event.target === drawer && event.clientX < box.left) drawer.close();
});

/** Shows what a client owes on a day. */
export async function open({ number, name }, asOf) {
  request?.abort();
  request = new AbortController();
  const content = el('div', { class: 'drawer-body busy' }, el('p', { class: 'loading' }, 'Loading…'));
  drawer.replaceChildren(
    el('div', { class: 'drawer-head' },
      el('div', {},
        el('h2', {}, name),
        el('p', {}, `${number} · open items as of ${day(asOf)} `, el('small', { lang: 'fr' }, 'postes ouverts'))),
      el('button', { class: 'quiet', 'aria-label': 'Close', onclick: close }, '✕')),
    content);
  if (!drawer.open) drawer.showModal();
  await fill(content, { client: { number }, asOf, first: PAGE, after: null }, request.signal);
}

export function close() {
  if (drawer.open) drawer.close();
  drawer.replaceChildren();
}

async function fill(content, variables, signal) {
  try {
    const client = await page(variables, signal);
    content.classList.remove('busy');
    if (!client) {
      content.replaceChildren(el('p', { class: 'notice' }, 'This client is not known here.'));
      return;
    }
    const rows = el('tbody', {}, ...client.openItems.nodes.map(itemRow));
    const foot = el('div', { class: 'more' });
    content.replaceChildren(
      ...[client.balance].flat().filter(Boolean).map(totals),
      el('div', { class: 'table-box' }, el('table', { class: 'items' }, head(), rows)),
      foot);
    more(rows, foot, variables, signal, client.openItems);
  } catch (problem) {
    if (!signal.aborted) content.replaceChildren(el('p', { class: 'notice bad', role: 'alert' }, problem.message));
  }
}

async function page(variables, signal) {
  const data = await query(await documentOf('client-account'), variables, signal);
  return data.client;
}

function more(rows, foot, variables, signal, { pageInfo, totalCount }) {
  const count = el('span', {}, `${rows.children.length} of ${totalCount} open ${totalCount === 1 ? 'item' : 'items'}`);
  if (!pageInfo.hasNextPage) {
    foot.replaceChildren(count);
    return;
  }
  const button = el('button', {
    onclick: async () => {
      button.disabled = true;
      try {
        const client = await page({ ...variables, after: pageInfo.endCursor }, signal);
        rows.append(...client.openItems.nodes.map(itemRow));
        more(rows, foot, variables, signal, client.openItems);
      } catch (problem) {
        if (!signal.aborted) foot.replaceChildren(count, el('span', { class: 'notice bad', role: 'alert' }, problem.message));
      }
    },
  }, 'More');
  foot.replaceChildren(count, button);
}

function totals({ currency, total, overdue, disputed, unallocated }) {
  const figure = (english, french, value) => el('div', { class: 'figure' },
    el('div', { class: 'figure-label' }, ...bilingual(english, french)),
    el('div', { class: 'figure-value' }, amount(value), el('small', {}, ` ${currency}`)));
  return el('div', { class: 'figures small' },
    figure('Total', 'solde', total),
    figure('Overdue', 'échu', overdue),
    figure('of which disputed', 'dont litiges', disputed),
    figure('Unallocated', 'non lettré', unallocated));
}

function head() {
  const column = (name, english, french) => el('th', { scope: 'col', class: name }, english, el('small', { lang: 'fr' }, french));
  return el('thead', {}, el('tr', {},
    column('', 'Item', 'pièce'),
    column('', 'Posted', 'comptabilisé'),
    column('', 'Due', 'échéance'),
    column('num', 'Days overdue', 'retard'),
    column('num', 'Amount', 'montant'),
    column('num strong', 'Open', 'reste dû'),
    column('num', 'Disputed', 'litige')));
}

function itemRow(item) {
  const [english, french] = KINDS[item.kind] ?? [item.kind, ''];
  const cell = (value, name) => {
    const zero = value === null || isZero(value);
    return amountCell(zero ? '–' : amount(value), { class: name, zero, negative: !zero && isNegative(value) });
  };
  const late = item.daysOverdue > 0;
  return el('tr', {},
    el('th', { scope: 'row' }, el('span', {}, item.reference), el('small', {}, english, french && ' · ', el('i', { lang: 'fr' }, french), ` · ${item.currency}`)),
    el('td', {}, day(item.postedOn)),
    el('td', {}, day(item.dueOn) || '–'),
    el('td', { class: `num${late ? ' late' : ' zero'}` }, late ? String(item.daysOverdue) : '–'),
    cell(item.amount),
    cell(item.open, 'strong'),
    cell(item.disputedAmount, 'disputed'));
}
