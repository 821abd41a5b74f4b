"""How the pages look: one style sheet for both themes and every width. Inline styles are forbidden by the policy."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --soft: #5d5952; --line: #e3dfd8; --track: #e9e5de;
  --good: #1c6b47; --busy: #2b5a93; --warn: #855300; --bad: #b02318; --bad-wash: #fbecea; --link: #24507f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #131416; --card: #1a1c1f; --ink: #e9e7e3; --soft: #a5a19a; --line: #2c2f33; --track: #2b2e33;
    --good: #69c295; --busy: #8fb8ea; --warn: #e2b04e; --bad: #ff8b7f; --bad-wash: #2b1a1a; --link: #9cc1ee;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
}
header, main, footer { max-width: 76rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2rem; padding-bottom: 1.25rem; }
h1, h2, h3, p, ol, ul, dl, dd { margin: 0; padding: 0; }
ol, ul { list-style: none; }
h1 { font-size: 1.75rem; line-height: 1.25; font-weight: 600; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1rem; line-height: 1.5; font-weight: 600; margin-bottom: 0.5rem; }
h3 { font-size: 0.8125rem; font-weight: 600; color: var(--soft); margin: 1.1rem 0 0.3rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 0.18em; }
a:focus-visible, input:focus-visible, button:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px; border-radius: 3px;
}
code {
  font: 0.9em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere;
}
.soft { color: var(--soft); }
.small { font-size: 0.8125rem; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.top { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0.25rem 1.5rem; margin-bottom: 0.9rem; }
.top a { color: inherit; }
.mark { font-weight: 600; letter-spacing: -0.01em; }
.counts { display: flex; flex-wrap: wrap; gap: 0.35rem 1.1rem; margin-top: 0.6rem; }
.counts a[aria-current] { color: var(--ink); font-weight: 600; text-decoration: none; }
.alarms li {
  background: var(--bad-wash); border-left: 3px solid var(--bad); border-radius: 3px;
  padding: 0.6rem 0.9rem; margin-bottom: 0.75rem; overflow-wrap: anywhere;
}
#unreachable:not(:empty) {
  background: var(--bad-wash); border-left: 3px solid var(--bad); border-radius: 3px; padding: 0.6rem 0.9rem;
  margin-top: 1rem;
}
.columns { display: grid; grid-template-columns: minmax(0, 1fr) 21rem; gap: 2.5rem; align-items: start; }
.columns > div > * + * { margin-top: 2.25rem; }
.story + .story { margin-top: 1.5rem; }
form { display: flex; gap: 0.5rem; margin-bottom: 0.9rem; max-width: 26rem; }
input, button {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--soft); border-radius: 6px;
  padding: 0.35rem 0.7rem; min-height: 2.25rem;
}
input { flex: 1; min-width: 0; }
button { cursor: pointer; }
.hosts > li {
  display: grid; grid-template-columns: minmax(0, 1fr) 7rem minmax(0, 19rem); gap: 0.1rem 1.25rem; align-items: start;
  padding: 0.75rem 0; border-top: 1px solid var(--line);
}
.hosts > li:last-child { border-bottom: 1px solid var(--line); }
.name { font-weight: 600; overflow-wrap: anywhere; }
.name a { color: inherit; text-decoration: none; }
.name a:hover { text-decoration: underline; }
.trouble { grid-column: 1 / -1; margin-top: 0.35rem; overflow-wrap: anywhere; }
.state { white-space: nowrap; }
.state::before {
  content: ""; display: inline-block; width: 0.55rem; height: 0.55rem; border-radius: 50%; margin-right: 0.5rem;
  background: currentColor;
}
.good { color: var(--good); }
.busy { color: var(--busy); }
.warn { color: var(--warn); }
.bad { color: var(--bad); }
.busy.state::before { background: none; border: 2px solid currentColor; }
.warn.state::before { border-radius: 1px; }
.bad.state::before { border-radius: 1px; transform: rotate(45deg); }
svg.life { display: block; width: 100%; height: 12px; margin-top: 0.35rem; }
.life .track { fill: var(--track); }
.life .gone.good { fill: var(--good); }
.life .gone.warn { fill: var(--warn); }
.life .gone.bad { fill: var(--bad); }
.life .point { fill: var(--ink); }
.ends { display: flex; justify-content: space-between; gap: 0.75rem; margin-top: 0.2rem; }
.pages { display: flex; gap: 1.25rem; margin-top: 1rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.9rem 0.4rem 0; border-top: 1px solid var(--line); }
thead th { border-top: 0; padding-top: 0; font-size: 0.8125rem; font-weight: 400; color: var(--soft); }
th { font-weight: 400; overflow-wrap: anywhere; }
td.number, th.number { text-align: right; padding-right: 0; padding-left: 0.9rem; }
.facts > div {
  display: flex; justify-content: space-between; gap: 1rem; padding: 0.35rem 0; border-top: 1px solid var(--line);
}
.facts dd { text-align: right; font-variant-numeric: tabular-nums; }
.list li { padding: 0.5rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.events li { padding: 0.45rem 0; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
.events li { display: grid; grid-template-columns: 5.5rem minmax(0, 1fr); gap: 0.75rem; }
.story p { overflow-wrap: anywhere; max-width: 46rem; }
.story p + p { margin-top: 0.35rem; }
.story .urgent {
  border-left: 3px solid var(--bad); background: var(--bad-wash); border-radius: 3px; padding: 0.75rem 1rem;
}
footer { padding-top: 2.5rem; padding-bottom: 2.5rem; color: var(--soft); }
footer a { color: inherit; }
@media (max-width: 60rem) { .columns { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 40rem) {
  header, main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.25rem; }
  h1 { font-size: 1.4rem; }
  .hosts > li { grid-template-columns: minmax(0, 1fr) auto; }
  .hosts > li > .term { grid-column: 1 / -1; margin-top: 0.25rem; }
  input, button { min-height: 2.75rem; }
  .events li { grid-template-columns: 4.6rem minmax(0, 1fr); gap: 0.5rem; }
}
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
@media print { form, .pages, #unreachable { display: none; } }
"""
