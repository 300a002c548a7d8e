/** How it looks: one hue, light and dark, from 320 pixels up. */
export const style = `
:root {
  color-scheme: light dark;
  --hue: 235;
  --accent: oklch(.45 .1 var(--hue)); --on-accent: #fff;
  --page: oklch(.975 .006 var(--hue)); --card: #fff; --ink: oklch(.23 .02 var(--hue));
  --good: oklch(.95 .04 150); --bad: oklch(.95 .03 25);
}
@media (prefers-color-scheme: dark) {
  :root {
    --accent: oklch(.8 .1 var(--hue)); --on-accent: oklch(.2 .03 var(--hue));
    --page: oklch(.17 .012 var(--hue)); --card: oklch(.21 .014 var(--hue)); --ink: oklch(.94 .008 var(--hue));
    --good: oklch(.3 .05 150); --bad: oklch(.3 .06 25);
  }
}
:root {
  --soft: color-mix(in oklab, var(--ink) 70%, var(--card));
  --line: color-mix(in oklab, var(--ink) 12%, var(--card));
  --edge: color-mix(in oklab, var(--ink) 50%, var(--card));
}
*, ::before, ::after { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
header, main { max-inline-size: 36rem; margin-inline: auto; padding-inline: 1rem; }
header { padding-block: 1.5rem 1rem; }
header a { color: inherit; font-weight: 650; text-decoration: none; }
main { padding-block: 1.5rem; background: var(--card); border-block: 1px solid var(--line); }
@media (min-width: 38rem) { header { padding-inline: 2rem; } main { padding: 2rem; border: 1px solid var(--line); border-radius: 1rem; margin-block-end: 2rem; } }
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; letter-spacing: -.025em; text-wrap: balance; }
h2 { margin: 2rem 0 0; font-size: 1.125rem; }
main > * + * { margin-block: 1.25rem 0; }
a { color: var(--accent); text-underline-offset: .2em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.button { display: inline-flex; align-items: center; min-block-size: 2.75rem; padding: .5rem 1rem; border: 1px solid var(--edge); border-radius: .625rem; background: none; color: inherit; font: inherit; font-weight: 600; text-decoration: none; cursor: pointer; }
.ways { display: flex; flex-wrap: wrap; gap: .75rem; }
.main { background: var(--accent); border-color: transparent; color: var(--on-accent); }
label { display: block; font-weight: 550; margin-block-end: .375rem; }
input { min-block-size: 2.75rem; inline-size: 8rem; margin-inline-end: .5rem; padding: .5rem .75rem; border: 1px solid var(--edge); border-radius: .625rem; background: none; color: inherit; font: inherit; }
.soft, dt { color: var(--soft); }
.verdict { padding: .75rem 1rem; border-radius: .625rem; }
.good { background: var(--good); }
.bad { background: var(--bad); }
.rows { margin-inline: 0; padding: 0; list-style: none; font-variant-numeric: tabular-nums; }
.rows li { display: grid; grid-template-columns: 1fr 1fr auto; }
.rows li, dl > div { padding-block: .625rem; }
li + li, dl > div + div { border-block-start: 1px solid var(--line); }
dl { margin-block-end: 0; }
dd { margin: 0; }
code { font: .875em ui-monospace, monospace; overflow-wrap: anywhere; }
`;
