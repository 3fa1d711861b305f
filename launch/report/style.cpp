#include "report/page.hpp"

namespace shoal::launch::report {

const char* page_style() {
  return R"css(
:root {
  color-scheme: light dark;
  --paper: #ffffff; --raised: #f3f6f6; --ink: #152128; --soft: #55646d; --line: #d9e0e2;
  --axis: #8a979e; --link: #00695f; --warn: #8f4a00;
  --t0: #00796b; --t1: #c8540a; --t2: #8348ad; --t3: #68767e; --t4: #1f6bb5;
  --t5: #b52f68; --t6: #9a6f00; --t7: #46771d; --t8: #5546b0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f171b; --raised: #182328; --ink: #e3eaec; --soft: #9cabb2; --line: #2b393f;
    --axis: #6d7d85; --link: #5fd8c7; --warn: #ffb36b;
    --t0: #3fd0bc; --t1: #ff9a57; --t2: #c99cf5; --t3: #92a2aa; --t4: #6db2f5;
    --t5: #f585b2; --t6: #e3b83a; --t7: #9ad262; --t8: #a99df8;
  }
}
@media print {
  :root {
    --paper: #fff; --raised: #fff; --ink: #000; --soft: #333; --line: #bbb; --axis: #666; --link: #000;
    --warn: #000; --t0: #00796b; --t1: #c8540a; --t2: #8348ad; --t3: #68767e; --t4: #1f6bb5;
    --t5: #b52f68; --t6: #9a6f00; --t7: #46771d; --t8: #5546b0;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, Cantarell, sans-serif;
}
main, header, footer { max-width: 52rem; margin: 0 auto; padding: 0 1rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: 0.2em; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 3px; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; margin: 0; }
header { padding-top: 2.25rem; }
.mark { font-weight: 700; letter-spacing: 0.01em; color: var(--t0); margin: 0 0 0.6rem; }
h1 { font-size: clamp(1.7rem, 1.2rem + 2.4vw, 2.6rem); letter-spacing: -0.02em; font-weight: 700; }
.when { color: var(--soft); margin: 0.6rem 0 0; }
.headlines {
  display: grid; grid-template-columns: repeat(3, 1fr);
  gap: 1.4rem 1.6rem; margin: 2rem 0 0; padding: 1.5rem 0 1.6rem; list-style: none;
  border-top: 2px solid var(--ink); border-bottom: 1px solid var(--line);
}
.headlines b {
  display: block; font-size: clamp(1.6rem, 1.3rem + 1.2vw, 2.1rem); line-height: 1.15;
  font-weight: 650; letter-spacing: -0.02em; color: var(--t0); white-space: nowrap;
}
.headlines a { color: inherit; text-decoration: none; display: block; }
.headlines a:hover span { text-decoration: underline; }
.headlines span { display: block; margin-top: 0.35rem; font-size: 0.88rem; line-height: 1.4; color: var(--soft); }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1.25rem; margin: 1.5rem 0 0; font-size: 0.92rem; }
.facts dt { color: var(--soft); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: 1.6rem 0 0; font-size: 0.92rem; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; list-style: none; padding: 0; margin: 0; }
section { margin-top: 3.4rem; }
h2 { font-size: 1.5rem; letter-spacing: -0.012em; }
.lead { color: var(--soft); margin: 0.5rem 0 0; max-width: 42rem; }
figure { margin: 2rem 0 0; padding: 1.25rem 0 0; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; line-height: 1.35; font-weight: 620; max-width: 44rem; text-wrap: pretty; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; list-style: none; padding: 0; margin: 0.8rem 0 0; font-size: 0.88rem; }
.legend li { display: flex; align-items: center; gap: 0.45rem; }
.legend svg { width: 26px; height: 10px; flex: none; }
.y { font-size: 0.82rem; color: var(--soft); margin: 0.8rem 0 0; }
figure > svg { display: block; width: 100%; height: auto; margin-top: 0.25rem; overflow: visible; }
svg.narrow { display: none; }
svg text { font-family: inherit; font-size: 13px; fill: var(--ink); font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
svg .axis { stroke: var(--axis); } svg .grid { stroke: var(--line); stroke-dasharray: none; }
svg .reference { stroke: var(--ink); }
)css"
         R"css(
path.t0 { stroke: var(--t0); } path.t1 { stroke: var(--t1); } path.t2 { stroke: var(--t2); }
path.t3 { stroke: var(--t3); } path.t4 { stroke: var(--t4); } path.t5 { stroke: var(--t5); }
path.t6 { stroke: var(--t6); } path.t7 { stroke: var(--t7); } path.t8 { stroke: var(--t8); }
circle.t0, polygon.t0 { fill: var(--t0); } circle.t1, polygon.t1 { fill: var(--t1); }
circle.t2, polygon.t2 { fill: var(--t2); } circle.t3, polygon.t3 { fill: var(--t3); }
circle.t4, polygon.t4 { fill: var(--t4); } circle.t5, polygon.t5 { fill: var(--t5); }
circle.t6, polygon.t6 { fill: var(--t6); } circle.t7, polygon.t7 { fill: var(--t7); }
circle.t8, polygon.t8 { fill: var(--t8); }
circle { stroke: none; }
figcaption { margin-top: 0.7rem; font-size: 0.88rem; color: var(--soft); max-width: 44rem; }
figcaption p { margin: 0 0 0.35rem; }
code { font: 0.86em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
details { margin-top: 0.6rem; font-size: 0.88rem; }
summary { cursor: pointer; color: var(--link); padding: 0.2rem 0; width: fit-content; }
.scroll { overflow-x: auto; margin-top: 0.4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.84rem; }
caption { text-align: left; font-weight: 600; padding: 0.6rem 0 0.2rem; }
th, td { text-align: right; padding: 0.3rem 0 0.3rem 1.1rem; border-bottom: 1px solid var(--line); white-space: nowrap; vertical-align: top; }
th { font-weight: 600; color: var(--soft); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
table.words th, table.words td { text-align: left; }
table.words td:last-child { white-space: normal; min-width: 16rem; }
.gap { border-left: 3px solid var(--warn); padding: 0.1rem 0 0.1rem 0.9rem; margin: 1.2rem 0 0; font-size: 0.92rem; max-width: 44rem; }
.gap b { color: var(--warn); }
.runs { list-style: none; padding: 0; margin: 1.4rem 0 0; }
.runs li { border-top: 1px solid var(--line); padding: 0.8rem 0; font-size: 0.92rem; }
.runs h3 { font-size: 1rem; }
.runs p { margin: 0.2rem 0 0; }
.runs .soft { color: var(--soft); }
.bad { color: var(--warn); }
footer { margin-top: 4rem; padding-bottom: 3rem; color: var(--soft); font-size: 0.86rem; }
footer p { border-top: 1px solid var(--line); padding-top: 1rem; }
@media (max-width: 34rem) {
  svg.wide { display: none; } svg.narrow { display: block; }
  header { padding-top: 1.4rem; }
  .facts { gap: 0.3rem 0.8rem; font-size: 0.86rem; }
  .headlines { grid-template-columns: 1fr 1fr; gap: 1.3rem 1rem; }
  section { margin-top: 2.8rem; }
}
@media print {
  body { font-size: 10pt; }
  main, header, footer { max-width: none; }
  nav, details { display: none; }
  figure, .runs li { break-inside: avoid; }
  svg.wide { display: block; } svg.narrow { display: none; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
)css";
}

}  // namespace shoal::launch::report
