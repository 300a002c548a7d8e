import type { Compared } from './compare.ts';

const [left, width, bar, gap] = [210, 420, 9, 14];

/** Bars: the speed of Latchkey and of the plain adapter as shares of the bare library's in memory. An SVG for light and dark. */
export function chart(flows: readonly Compared[]): string {
  const rowHeight = 2 * bar + gap;
  const height = 56 + flows.length * rowHeight;
  const longest = Math.max(1, ...flows.flatMap(({ toMemory, plain, memory }) => [toMemory.median, plain / memory]));
  const at = (share: number) => (share / longest) * width;
  const rows = flows.map(({ title, toMemory, plain, memory }, index) => {
    const y = 40 + index * rowHeight;
    const shares = [
      { share: toMemory.median, css: 'ours' },
      { share: plain / memory, css: 'plain' },
    ];
    const bars = shares.map(({ share, css }, which) => {
      const top = y + which * bar;
      return `<rect class="${css}" x="${left}" y="${top}" width="${at(share).toFixed(1)}" height="${bar - 1}" rx="2"/>
  <text x="${(left + at(share) + 5).toFixed(1)}" y="${top + bar - 1.5}" class="figure">${share.toFixed(2)}</text>`;
    });
    return `<text x="${left - 10}" y="${y + bar + 3}" text-anchor="end">${title}</text>\n  ${bars.join('\n  ')}`;
  });
  const one = left + at(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 60} ${height}" role="img" aria-label="Speed of each flow as a share of the bare library in memory">
  <style>
    text { font: 12px system-ui, sans-serif; fill: #222 } .figure { font-size: 9px } .ours { fill: #2f7d5b } .plain { fill: #b9c2bd }
    line { stroke: #888; stroke-dasharray: 3 3 }
    @media (prefers-color-scheme: dark) { text { fill: #e6e6e6 } .ours { fill: #58b98c } .plain { fill: #5f6a65 } }
  </style>
  <rect class="ours" x="${left}" y="8" width="10" height="10"/><text x="${left + 15}" y="17">Latchkey</text>
  <rect class="plain" x="${left + 90}" y="8" width="10" height="10"/><text x="${left + 105}" y="17">plain PostgreSQL adapter</text>
  <line x1="${one}" x2="${one}" y1="26" y2="${height - 8}"/><text x="${one}" y="${height - 1}" class="figure" text-anchor="middle">1 = the library in memory</text>
  ${rows.join('\n  ')}
</svg>
`;
}
