/** A text that contains path parameters: `{model_id}/{stream_id}`. */

import type { RouteParams } from './route-table.ts';

/** Made by `parseTemplate`; parts in order. */
export interface PathTemplate {
  /** As written. */
  readonly text: string;
  readonly parts: readonly TemplatePart[];
}

type TemplatePart = { readonly literal: string } | { readonly param: string };

const PART = /\{([A-Za-z_][A-Za-z0-9_]*)\}|([^{}]+)/y;

/** Returns undefined if the text has braces that are not `{name}`, or no parameter. */
export function parseTemplate(text: string): PathTemplate | undefined {
  const parts: TemplatePart[] = [];
  PART.lastIndex = 0;
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text);
    if (match === null) return undefined;
    const [, param, literal = ''] = match;
    parts.push(param === undefined ? { literal } : { param });
  }
  return paramsOf({ text, parts }).length === 0 ? undefined : { text, parts };
}

export function paramsOf({ parts }: PathTemplate): readonly string[] {
  return parts.flatMap((part) => ('param' in part ? [part.param] : []));
}

/** Substitutes the values; a parameter that is not in `params` becomes empty. */
export function fillTemplate({ parts }: PathTemplate, params: RouteParams): string {
  let text = '';
  for (const part of parts) text += 'param' in part ? (params[part.param] ?? '') : part.literal;
  return text;
}
