// Amounts and days as French readers expect them. Amounts are decimal strings and stay
// strings or become BigInt: no float comes near money.

const DECIMAL = /^(-?)(\d+)(?:\.(\d+))?$/;
const THIN_SPACE = '\u202f';

/** "-12345.60" becomes "-12 345,60". What is not a decimal is returned as it came. */
export function amount(decimal) {
  const parts = DECIMAL.exec(decimal);
  if (!parts) return String(decimal ?? '');
  const [, sign, whole, fraction] = parts;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, THIN_SPACE);
  return sign + grouped + (fraction ? `,${fraction}` : '');
}

/** Whether a decimal string is zero: "0", "0.00", "-0.000". */
export const isZero = (decimal) => /^-?0+(\.0*)?$/.test(decimal);

/** Whether a decimal string is below zero. */
export const isNegative = (decimal) => /^-/.test(decimal) && !isZero(decimal);

/** How much of `whole` is `part`, in tenths of a percent; 0 when the question has no sense. */
export function permille(part, whole) {
  const [small, large] = sameScale([part, whole]);
  if (large <= 0n || small <= 0n) return 0;
  return Number((small * 1000n + large / 2n) / large);
}

/** The shares of positive amounts in their sum, in tenths of a percent. */
export function shares(decimals) {
  const positive = sameScale(decimals).map((units) => (units > 0n ? units : 0n));
  const sum = positive.reduce((total, units) => total + units, 0n);
  return positive.map((units) => (sum === 0n ? 0 : Number((units * 1000n) / sum)));
}

/** 606 tenths becomes "60,6 %". */
export const percent = (tenths) => `${Math.trunc(tenths / 10)},${tenths % 10}${THIN_SPACE}%`;

/** "2026-03-31" becomes "31/03/2026". */
export function day(date) {
  const parts = /^(\d{4})-(\d{2})-(\d{2})/.exec(date ?? '');
  return parts ? `${parts[3]}/${parts[2]}/${parts[1]}` : '';
}

/** A day as the API writes it, from a local `Date`. */
export function isoDay(date) {
  const two = (number) => String(number).padStart(2, '0');
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

export const today = () => isoDay(new Date());

/** The last day of the month before today's. */
export function lastMonthEnd() {
  const now = new Date();
  return isoDay(new Date(now.getFullYear(), now.getMonth(), 0));
}

function sameScale(decimals) {
  const parts = decimals.map((decimal) => DECIMAL.exec(decimal) ?? ['', '', '0', '']);
  const scale = Math.max(...parts.map(([, , , fraction]) => (fraction ?? '').length));
  return parts.map(([, sign, whole, fraction]) => BigInt(sign + whole + (fraction ?? '').padEnd(scale, '0')));
}
