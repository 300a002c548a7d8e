/** Reads a page without a browser: enough HTML for what our own templates write, and strict about it. */
import { expect } from 'vitest';

/** `text` is what stands in the element itself, not in those inside it. */
export type Tag = { name: string; attributes: Record<string, string>; text: string };

const anyTag = /(<\/?[a-z][a-z0-9]*(?:\s+[a-z-]+(?:="[^"<>]*")?)*\s*\/?>)/i;

/** The tags of a page in source order. Fails on anything that is not well formed. */
export function tagsOf(html: string): Tag[] {
  const tags: Tag[] = [];
  const open: Tag[] = [];
  for (const part of html.replace('<!doctype html>', '').split(anyTag)) {
    const end = /^<\/(\S+)>$/.exec(part);
    const start = /^<([a-z0-9]+)/i.exec(part);
    if (end) expect(open.pop()?.name, `before ${part}`).toBe(end[1]);
    else if (start?.[1]) {
      const tag = { name: start[1], attributes: attributesOf(part), text: '' };
      tags.push(tag);
      if (!/^(meta|link|input|img|br)$/.test(tag.name) && !part.endsWith('/>')) open.push(tag);
    } else {
      if (/[<>]/.test(part)) throw new Error(`Not a tag, and not escaped: ${part}`);
      const inside = open.at(-1);
      if (inside) inside.text += unescaped(part);
    }
  }
  expect(open).toEqual([]);
  return tags;
}

function attributesOf(tag: string): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const [, key = '', value = ''] of tag.matchAll(/\s([a-z-]+)(?:="([^"]*)")?/gi)) {
    if (key in attributes) throw new Error(`Twice the same attribute: ${tag}`);
    attributes[key] = unescaped(value);
  }
  return attributes;
}

function unescaped(text: string): string {
  const named: Record<string, string> = { '&lt;': '<', '&gt;': '>', '&#34;': '"', '&#39;': "'", '&amp;': '&' };
  return text.replace(/&(?:lt|gt|#34|#39|amp);/g, (entity) => named[entity] ?? entity);
}

export const byClass = (tags: Tag[], ...classes: string[]) =>
  tags.filter(({ attributes }) => classes.every((one) => attributes.class?.split(' ').includes(one)));
export const byId = (tags: Tag[], id: string) => tags.find(({ attributes }) => attributes.id === id);
export const valuesOf = (tags: Tag[], attribute: string) =>
  tags.flatMap(({ attributes }) => attributes[attribute] ?? []);
