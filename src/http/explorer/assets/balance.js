// The aged balance (balance âgée): totals, the proof against the ledger, and one row per client.

import * as account from './account.js';
import { query } from './session.js';
import { amountCell, bilingual, el } from './dom.js';
import { documentOf } from './examples.js';
import { amount, day, isNegative, isZero, lastMonthEnd, percent, permille, shares, today } from './format.js';

const PAGE = 50;
let view = null;

/** Shows the aged balance in this element; asks for it the first time only. */
export function open(host) {
  if (view) return;
  view = { host, asOf: today(), cursor: null, request: null };
  const date = el('input', { type: 'date', value: view.asOf, required: true, id: 'as-of' });
  const choose = (chosen) => {
    if (!chosen) return;
    date.value = chosen;
    load(chosen);
  };
  date.addEventListener('change', () => choose(date.value));
  view.body = el('div', { class: 'report-body', 'aria-live': 'polite' });
  host.replaceChildren(
    el('div', { class: 'report-head' },
      el('h2', {}, ...bilingual('Aged balance', 'balance âgée')),
      el('div', { class: 'controls' },
        el('label', { for: 'as-of' }, ...bilingual('As of', 'au')),
        date,
        el('button', { class: 'link', onclick: () => choose(lastMonthEnd()) }, 'Last month-end'),
        el('button', { class: 'link', onclick: () => choose(today()) }, 'Today'))),
    view.body);
  load(view.asOf);
}

/** Takes the view away, with what it showed. */
export function close(host) {
  view?.request?.abort();
  view = null;
  host.replaceChildren();
}

async function load(asOf) {
  const mine = view;
  mine.asOf = asOf;
  mine.body.classList.add('busy');
  const found = await page(mine, null);
  if (!found) return;
  mine.body.classList.remove('busy');
  if (found.fault) {
    mine.body.replaceChildren(fault(found.fault, () => load(asOf)));
    return;
  }
  draw(mine, found.balance);
}

/** One page of the balance; nothing when another request has taken its place. */
async function page(mine, after) {
  mine.request?.abort();
  const request = new AbortController();
  mine.request = request;
  const current = () => view === mine && mine.request === request;
  try {
    const variables = { asOf: mine.asOf, first: PAGE, after };
    const data = await query(await documentOf('aged-balance'), variables, request.signal);
    return current() ? { balance: data.agedBalance } : null;
  } catch (problem) {
    return current() ? { fault: problem } : null;
  }
}

function draw(mine, balance) {
  if (balance.totals.length === 0 && balance.rows.nodes.length === 0) {
    mine.body.replaceChildren(empty(balance));
    return;
  }
  const shape = { buckets: balance.buckets, many: balance.totals.length > 1 };
  const rows = el('tbody', {}, ...balance.rows.nodes.map((row) => clientRow(mine, shape, row)));
  const foot = el('div', { class: 'more' });
  mine.body.replaceChildren(
    ...balance.totals.map((totals) => summary(balance, totals)),
    el('div', { class: 'table-box' },
      el('table', { class: 'balance' }, head(shape), rows, totalRows(shape, balance.totals))),
    foot);
  more(mine, shape, rows, foot, balance.rows);
}

function more(mine, shape, rows, foot, { pageInfo, totalCount }) {
  const count = el('span', {}, `${rows.children.length} of ${totalCount} ${totalCount === 1 ? 'line' : 'lines'}`);
  if (!pageInfo.hasNextPage) {
    foot.replaceChildren(count);
    return;
  }
  const button = el('button', {
    onclick: async () => {
      button.disabled = true;
      const found = await page(mine, pageInfo.endCursor);
      if (!found) return;
      if (found.fault) {
        foot.replaceChildren(count, fault(found.fault, () => more(mine, shape, rows, foot, { pageInfo, totalCount })));
        return;
      }
      rows.append(...found.balance.rows.nodes.map((row) => clientRow(mine, shape, row)));
      more(mine, shape, rows, foot, found.balance.rows);
    },
  }, 'More');
  foot.replaceChildren(count, button);
}

function summary(balance, totals) {
  const check = balance.ledgerCheck.find((each) => each.currency === totals.currency);
  const widths = shares(totals.buckets);
  const figure = (english, french, value, note) => el('div', { class: 'figure' },
    el('div', { class: 'figure-label' }, ...bilingual(english, french)),
    el('div', { class: 'figure-value' }, amount(value)),
    note && el('div', { class: 'figure-note' }, note));
  return el('div', { class: 'summary' },
    el('div', { class: 'figures' },
      el('div', { class: 'figure main' },
        el('div', { class: 'figure-label' }, ...bilingual('Outstanding', 'encours')),
        el('div', { class: 'figure-value' }, amount(totals.total), el('small', {}, ` ${totals.currency}`))),
      figure('Overdue', 'échu', totals.overdue, `${percent(permille(totals.overdue, totals.total))} of outstanding`),
      figure('of which disputed', 'dont litiges', totals.disputed),
      figure('Unallocated credits', 'non lettré', totals.unallocated),
      ledger(check)),
    el('div', { class: 'strip', role: 'img', 'aria-label': 'Share of each age' },
      ...widths.map((width, index) => width > 0 && el('span', {
        class: `age-${tone(index, widths.length)}`,
        style: `flex-grow: ${width}`,
        title: `${heading(balance.buckets, index).join(' · ')}: ${amount(totals.buckets[index])} (${percent(width)})`,
      }))));
}

function ledger(check) {
  const label = el('div', { class: 'figure-label' }, ...bilingual('Ledger', 'grand livre'));
  if (!check) return el('div', { class: 'figure' }, label, el('div', { class: 'figure-value' }, '–'));
  const equal = isZero(check.difference);
  return el('div', { class: `figure check ${equal ? 'good' : 'bad'}` },
    label,
    el('div', { class: 'figure-value' }, equal ? '✓ equal' : `✗ ${amount(check.difference)}`),
    el('div', { class: 'figure-note' }, `ledger balance ${amount(check.ledgerBalance)}`));
}

function head({ buckets, many }) {
  const column = (attributes, english, french) => el('th', { scope: 'col', ...attributes }, english, el('small', { lang: 'fr' }, french));
  return el('thead', {}, el('tr', {},
    column({ class: 'client' }, 'Client', 'compte'),
    many && column({}, 'Currency', 'devise'),
    ...buckets.map((bucket, index) => {
      const [english, french] = heading(buckets, index);
      return column({ class: `num age-${tone(index, buckets.length)}`, title: bucket.label }, english, french);
    }),
    column({ class: 'num' }, 'Unallocated', 'non lettré'),
    column({ class: 'num strong' }, 'Total', 'solde'),
    column({ class: 'num' }, 'Overdue', 'échu'),
    column({ class: 'num' }, 'of which disputed', 'dont litiges')));
}

/** The heading of a column of ages, in English and in French. */
function heading(buckets, index) {
  const { label, fromDays, toDays } = buckets[index];
  if (index === 0) return ['Not due', 'non échu'];
  if (toDays === null && fromDays !== null) return [`> ${fromDays - 1}`, 'jours'];
  if (fromDays === null) return [label, ''];
  return [`${fromDays}–${toDays}`, 'jours'];
}

/** One of five tones, from not due to the oldest, however many columns there are. */
function tone(index, count) {
  if (index === 0 || count < 2) return 0;
  return Math.ceil((index * 4) / (count - 1));
}

function clientRow(mine, shape, row) {
  const show = () => account.open(row.client, mine.asOf);
  return el('tr', { class: 'row', onclick: show },
    el('th', { scope: 'row', class: 'client' },
      el('button', { class: 'client-name', onclick: (event) => { event.stopPropagation(); show(); } },
        el('span', { title: row.client.name }, row.client.name), el('small', {}, row.client.number))),
    ...figures(shape, row));
}

function totalRows(shape, totals) {
  return el('tfoot', {}, ...totals.map((each) => el('tr', {},
    el('th', { scope: 'row', class: 'client' }, ...bilingual('All clients', 'total')), ...figures(shape, each))));
}

function figures({ many }, { currency, buckets, unallocated, total, overdue, disputed }) {
  const cell = (value, name) => amountCell(isZero(value) ? '–' : amount(value), {
    class: name, zero: isZero(value), negative: isNegative(value),
  });
  return [
    many && el('td', {}, currency),
    ...buckets.map((value, index) => cell(value, `age-${tone(index, buckets.length)}`)),
    cell(unallocated),
    cell(total, 'strong'),
    cell(overdue),
    cell(disputed, 'disputed'),
  ];
}

function empty(balance) {
  const equal = balance.ledgerCheck.every((check) => isZero(check.difference));
  return el('div', { class: 'empty' },
    el('p', {}, `Nothing is open on ${day(balance.asOf)}.`),
    el('p', { class: 'fine' }, equal ? 'The ledger agrees. ' : 'But the ledger does not agree. ',
      'Choose another day, or load data: encours demo, encours import receivables.'));
}

function fault(problem, again) {
  return el('div', { class: 'notice bad', role: 'alert' },
    el('span', {}, problem.message), ' ', el('button', { class: 'link', onclick: again }, 'Try again'));
}
