"""The style sheet of the report. Every colour is a variable, which the charts use as well."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b2430; --muted: #56616f; --border: #dde2e8;
  --good: #14713a; --bad: #b3261e; --warn: #8a5a00; --good-back: #e5f4ea; --bad-back: #fbe9e7; --warn-back: #fdf3dc;
  --line-1: #0b68b5; --line-2: #c9510c; --grid: #dde2e8; --tick: #6b4fa0; --shade: #eef1f4;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #10151b; --card: #182029; --text: #e7ecf2; --muted: #a3afbd; --border: #2e3945;
    --good: #6fd397; --bad: #ff9d92; --warn: #f2c462; --good-back: #14301f; --bad-back: #3b1a17; --warn-back: #362a0e;
    --line-1: #63b3f5; --line-2: #ffa561; --grid: #2e3945; --tick: #bda4ee; --shade: #202a35;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main, footer { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem; }
footer { color: var(--muted); font-size: 0.875rem; padding-top: 0; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 0.75rem; }
h3, .note h2 { font-size: 1rem; margin: 0; }
p { margin: 0.25rem 0; }
.muted { color: var(--muted); }
.card { background: var(--card); border: 1px solid var(--border); border-radius: 0.6rem; padding: 1rem 1.15rem; }
.verdict { border-left: 0.5rem solid var(--mark); background: var(--mark-back); }
.verdict strong { color: var(--mark); font-size: 1.75rem; letter-spacing: 0.03em; line-height: 1.3; }
.verdict ul, .note ul { margin: 0.5rem 0 0.25rem; padding-left: 1.25rem; }
.passed { --mark: var(--good); --mark-back: var(--good-back); }
.failed { --mark: var(--bad); --mark-back: var(--bad-back); }
.note { --mark: var(--warn); border-left: 0.5rem solid var(--mark); background: var(--warn-back); margin-top: 1rem; }
li, td, th, dd { overflow-wrap: anywhere; }
.tiles, .charts { display: grid; gap: 1rem; margin: 1rem 0 0; }
.tiles { grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.tiles dt { color: var(--muted); font-size: 0.875rem; }
.tiles dd { margin: 0; font-size: 1.45rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.35; }
.tiles dd + dd { font-size: 0.75rem; font-weight: 400; }
figure { margin: 0; }
figcaption { margin-bottom: 0.5rem; }
figcaption p { color: var(--muted); font-size: 0.875rem; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin-bottom: 1rem; padding: 0.5rem 1.15rem 0.75rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; font-weight: 600; padding: 0.4rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 1rem 0.35rem 0; border-top: 1px solid var(--border); }
thead th { color: var(--muted); font-size: 0.8rem; font-weight: 500; border-top: 0; }
tbody th { font-weight: 500; width: 13rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; width: 8.5rem; }
code { font: 0.85em ui-monospace, monospace; color: var(--muted); }
.keys { width: 15rem; }
.wrong th, .wrong .number, .wrong dd:not(dd + dd) { color: var(--bad); font-weight: 700; }
@media (max-width: 44rem) {
  .tiles { grid-template-columns: 1fr 1fr; }
  .card { padding: 0.75rem 0.85rem; }
  .explanation { display: none; }
  tbody th, .number, .keys { width: auto; }
}
@media print {
  html { font-size: 8pt; }
  body { background: none; font-size: 1rem; }
  main, footer { max-width: none; padding: 0; }
  .card { break-inside: avoid; border-radius: 0; }
  .tiles { grid-template-columns: repeat(4, 1fr); }
  .charts { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
