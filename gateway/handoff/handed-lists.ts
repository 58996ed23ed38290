/** The lists of a data plane: what the control plane has said of each of them last. */

import {
  type ListSource,
  type ListsByReader,
  placeOf,
  type SourceList,
  type SourceLists,
  sourceKey,
} from '../lists/list-registry.ts';
import type { ListReader, LiveContents } from '../lists/live-list.ts';
import { formNameOf, formOf } from './list-forms.ts';
import type { AboutList } from './messages.ts';
import type { Parcel } from './parcel.ts';

/** How both ends call a list. */
export function listIdOf(formName: string, key: string): string {
  return `${formName} ${key}`;
}

export class HandedLists implements ListsByReader {
  readonly #lists = new Map<string, HandedList>();

  of<Contents extends LiveContents>(reader: ListReader<Contents>): SourceLists<Contents> {
    const form = formNameOf(reader);
    return {
      // The form of the reader makes the contents that the reader would.
      list: async (source: ListSource) =>
        this.#list(listIdOf(form, sourceKey(source)), placeOf(source)) as SourceList<Contents>,
    };
  }

  /** Throws when the parcel is no list. */
  take({ id, form, place, isCurrent, has }: AboutList, parcel: Parcel): void {
    const list = this.#list(id, place);
    if (has === 'nothing') list.contents = undefined;
    if (has === 'contents') list.contents = formOf(form).unpack(parcel);
    list.isCurrent = isCurrent;
  }

  /** Policies that have these go on with them as they are. */
  forget(ids: readonly string[]): void {
    for (const id of ids) this.#lists.delete(id);
  }

  #list(id: string, place: string): HandedList {
    const known = this.#lists.get(id) ?? new HandedList(place);
    this.#lists.set(id, known);
    return known;
  }
}

class HandedList implements SourceList<LiveContents> {
  readonly place: string;
  /** Told where the source is read. */
  readonly faults = [];
  contents: LiveContents | undefined;
  isCurrent = false;

  constructor(place: string) {
    this.place = place;
  }

  async settled(): Promise<void> {}

  close(): void {}
}
