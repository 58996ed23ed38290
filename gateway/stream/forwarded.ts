/** How many bytes of one direction went on, and in whose memory. */

export class Forwarded {
  /** In the memory they were read into. */
  passed = 0;
  /** In other memory: what came behind a head, what waited out a pause, small chunks, the header of a frame that was cut in two. */
  copied = 0;

  count(lengthBytes: number, isCopy: boolean): void {
    if (isCopy) this.copied += lengthBytes;
    else this.passed += lengthBytes;
  }
}
