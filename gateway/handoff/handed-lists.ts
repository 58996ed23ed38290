/** The lists of a data plane, as last sent by the control plane. */

import {
  type ListSource,
  type ListsByReader,
  type SourceList,
  type SourceLists,
  sourceKey,
  sourcePlace,
} from '../lists/list-registry.ts';
import type { ListReader, LiveContents } from '../lists/live-list.ts';
import { HandedEntries } from './handed-entries.ts';
import { formNameOf, formOf } from './list-forms.ts';
import type { AboutList } from './messages.ts';
import type { Parcel } from './parcel.ts';

/** The id of a list, the same at both ends. */
export function listIdOf(formName: string, key: string): string {
  return `${formName} ${key}`;
}

export class HandedLists implements ListsByReader {
  readonly #lists = new HandedEntries<HandedList>();

  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents> {
    const form = formNameOf(reader);
    return {
      // The reader's form unpacks the same type of contents that the reader makes.
      list: async (source: ListSource) =>
        this.#lists.of(
          listIdOf(form, sourceKey(source)),
          () => new HandedList(sourcePlace(source)),
        ) as SourceList<Contents>,
    };
  }

  /** Throws if the parcel is not a list of the stated form. */
  take({ id, form, place, isCurrent, has }: AboutList, parcel: Parcel): void {
    const list = this.#lists.tell(id, () => new HandedList(place));
    if (has === 'nothing') list.contents = undefined;
    if (has === 'contents') list.contents = formOf(form).unpack(parcel);
    list.isCurrent = isCurrent;
  }

  /** Returns a function that forgets these (`HandedEntries.leave`). */
  leave(ids: readonly string[]): () => void {
    return this.#lists.leave(ids);
  }
}

class HandedList implements SourceList<LiveContents> {
  readonly place: string;
  /** Always empty: faults are reported where the source is read. */
  readonly faults = [];
  contents: LiveContents | undefined;
  isCurrent = false;

  constructor(place: string) {
    this.place = place;
  }

  async settled(): Promise<void> {}

  close(): void {}
}
