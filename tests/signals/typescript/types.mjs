// Writes the TypeScript types of a JSON Schema that stdin has.

import { readFileSync } from 'node:fs';
import { compile } from 'json-schema-to-typescript';

const schema = JSON.parse(readFileSync(0, 'utf8'));
const bannerComment = `/**
 * The public contract of Recourse. Generated from docs/contract/ by
 * \`python -m tests.signals.typescript_types\`; do not edit.
 */`;
const types = await compile(schema, 'Contract', {
  bannerComment,
  style: { singleQuote: true, printWidth: 100 },
  unreachableDefinitions: true,
});
const where = / \* This interface was referenced by .*\n \* via the `definition` .*\n/g;
process.stdout.write(types.replace(where, '').replaceAll('/**\n */\n', '').replaceAll(' *\n */', ' */'));
