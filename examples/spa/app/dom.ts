/** Elements with text in them. Text stays text: nothing in this app turns a string into markup. */

type Child = Node | string | undefined;

export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Readonly<Record<string, string>> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

export function button(text: string, id: string, press: () => void, kind = ''): HTMLButtonElement {
  const made = element('button', { type: 'button', id, class: `btn ${kind}`.trim() }, text);
  made.addEventListener('click', press);
  return made;
}
