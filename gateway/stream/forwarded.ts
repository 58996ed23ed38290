/** Bytes forwarded in one direction, by whether they were copied. */

export class Forwarded {
  /** Sent from the memory they were read into. */
  passed = 0;
  /** Sent from other memory: bytes that came with a head or during a pause, small pieces, split frame headers. */
  copied = 0;

  count(lengthBytes: number, isCopy: boolean): void {
    if (isCopy) this.copied += lengthBytes;
    else this.passed += lengthBytes;
  }
}
