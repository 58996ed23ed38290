/** Rules for field lines of requests and responses. */

const NAME = /^[A-Za-z0-9-]+$/;
/** Control characters except tab (RFC 9110 §5.5). */
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;

/** What is wrong with the first line that must not be forwarded: a name beyond `[A-Za-z0-9-]`, a control byte. */
export function unsafeField(fields: readonly string[]): string | undefined {
  for (let i = 0; i < fields.length; i += 2) {
    if (!NAME.test(fields[i] ?? '')) return 'A field name must have only letters, digits and hyphens';
    if (CONTROL.test(fields[i + 1] ?? '')) return 'A field value has a control character';
  }
  return undefined;
}
