/** A template is literal text and parameters in braces, and nothing else. */
import t from 'tap';
import { fillTemplate, paramsOf, parseTemplate } from '../../gateway/core/path-template.ts';

t.test('a template names its parameters and is filled from those of a path', async (t) => {
  for (const [text, params, filled] of [
    ['{model_id}', ['model_id'], 'vision'],
    ['{model_id}/{stream_id}', ['model_id', 'stream_id'], 'vision/s1'],
    ['a-{stream_id}-{stream_id}', ['stream_id', 'stream_id'], 'a-s1-s1'],
    ['{missing}{model_id}', ['missing', 'model_id'], 'vision'],
  ] as const) {
    const template = parseTemplate(text);
    if (template === undefined) throw new Error(text);
    t.same(paramsOf(template), params);
    t.equal(fillTemplate(template, { model_id: 'vision', stream_id: 's1' }), filled);
  }
});

t.test('text with unbalanced braces, bad names or no parameter is not a template', async (t) => {
  for (const text of [
    '',
    'model_id',
    '{',
    '}',
    '{}',
    '{model_id',
    'model_id}',
    '{a b}',
    '{{a}}',
    '{1}',
    '{a}}',
  ])
    t.equal(parseTemplate(text), undefined, text);
});
