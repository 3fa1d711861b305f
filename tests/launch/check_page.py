"""check_page.py DOM FOLDER NETLOG: the page as a browser has it, against the files it is drawn from."""
import html.parser
import json
import pathlib
import re
import sys


class Page(html.parser.HTMLParser):
    """Figures with what is painted in the drawing for wide pages and in the one for phones."""

    def __init__(self):
        super().__init__()
        self.figures, self.links, self.wide_elements = {}, [], 0
        self.figure, self.kind, self.in_curve = None, None, False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        name = attributes.get("class") or ""
        if tag == "figure":
            self.figure = {"points": int(attributes["data-points"]), "wide": [], "narrow": [], "title": ""}
            self.figures[attributes["id"]] = self.figure
        elif tag == "svg" and self.figure is not None and name in ("wide", "narrow"):
            self.kind = name
            self.figure["label"] = attributes.get("aria-label", "")
        elif self.kind and tag in ("circle", "polygon"):
            self.figure[self.kind].append((tag, name))
        if tag == "a":
            self.links.append(attributes["href"])

    def handle_endtag(self, tag):
        if tag == "svg":
            self.kind = None
        elif tag == "figure":
            self.figure = None


def fail(problem):
    sys.exit(f"check_page: {problem}")


def rows(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["results"]


def main(dom, folder, netlog):
    page = Page()
    page.feed(pathlib.Path(dom).read_text())
    folder = pathlib.Path(folder)

    def painted(figure, tag, name=None):
        if figure not in page.figures:
            fail(f"there is no chart {figure}, only {sorted(page.figures)}")
        both = [sum(t == tag and (name is None or c == name) for t, c in page.figures[figure][kind])
                for kind in ("wide", "narrow")]
        if both[0] != both[1]:
            fail(f"{figure} has {both[0]} of {tag} {name} on wide pages and {both[1]} on phones")
        return both[0]

    def expect(figure, tag, wanted, name=None):
        if painted(figure, tag, name) != wanted or wanted == 0:
            fail(f"{figure} has {painted(figure, tag, name)} of {tag} {name}, not {wanted}")

    reduces = [r for r in rows(folder, "collectives") if r["op"] == "all_reduce" and r["algorithm"] == "auto"]
    expect("collectives-time", "circle", len(reduces), "t0")
    expect("collectives-ratio", "circle", len(reduces), "t1")
    others = [r for r in rows(folder, "collectives") if r["algorithm"] == "auto"
              and r["op"] in ("reduce_scatter", "all_gather", "broadcast", "all_to_all")]
    expect("collectives-others", "circle", len(others))
    products = rows(folder, "kernels")
    squares = [r for r in products if len(set(r["shape"].split("x"))) == 1]
    expect("kernels-squares", "circle", len(squares))
    expect("kernels-rows", "polygon", sum(int(r["shape"].split("x")[0]) <= 16 for r in products))
    expect("matmul-e", "polygon", len(rows(folder, "matmul")))
    trained = [r for file in folder.glob("train-*.json") for r in json.loads(file.read_text())["results"]]
    expect("train-nano", "circle", sum(r["shape"] == "nano" for r in trained))
    for name in ("machine", "cloudmatrix"):
        measures = json.loads((folder / f"equal-{name}.json").read_text())["measures"]
        if name == "machine":
            expect("equal-machine-nodes", "polygon",
                   sum(m["device"] > 0 and m["needed"] is not None for m in measures))
        else:
            expect("equal-cloudmatrix-ratios", "polygon",
                   sum(m["device"] > 0 and m["nodes"] > 0 for m in measures))

    for name, figure in page.figures.items():
        if not figure.get("label"):
            fail(f"{name} has no label for those who do not see it")
    for link in page.links:
        if not link.startswith("#") and not (folder / link).is_file():
            fail(f"{link} is not beside the page")

    # The browser's own log of the network: whatever was asked for, by whatever way.
    log = pathlib.Path(netlog).read_text()
    # What the browser wants for itself (the time, updates) has no page as its origin.
    asked = {url for line in log.splitlines() if '"initiator":"not an origin"' not in line and '"initiator":' in line
             for url in re.findall(r'"url":"((?:https?|wss?|ftp)://[^"]*)"', line)}
    if asked:
        fail(f"the page asks for {sorted(asked)}")
    if "open.html" not in log and '"events"' not in log:
        fail("there is no log of the network")
    print(f"{len(page.figures)} charts, {len(page.links)} links, nothing asked for")


main(*sys.argv[1:])
