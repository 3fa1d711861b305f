"""check_links.py SITE: every link of the site's pages leads to a file of the site, and to a place in it; no
page loads anything from elsewhere. Links to other sites are only listed with --outside, not followed."""
import html.parser
import pathlib
import sys
import urllib.parse

LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
# A page may name these; a browser loads nothing for them.
NAMES_ONLY = {"canonical", "alternate", "prev", "next", "author", "preconnect"}


class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.places, self.links, self.loads = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.places.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        target = values.get(LOADS.get(tag, ""))
        if target and not (tag == "link" and NAMES_ONLY & set(values.get("rel", "").split())):
            self.loads.append(target)


def main():
    site = pathlib.Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text(errors="replace")) for path in site.rglob("*.html")}
    problems, outside, checked = [], set(), 0
    for path, page in sorted(pages.items()):
        where = path.relative_to(site)
        for link, is_load in [(link, False) for link in page.links] + [(link, True) for link in page.loads]:
            target = urllib.parse.urlsplit(link)
            if target.scheme in ("data", "javascript", "mailto"):
                continue
            if target.scheme or target.netloc:
                outside.add(link)
                if is_load:
                    problems.append(f"{where}: loads {link} from another site")
                continue
            checked += 1
            name = urllib.parse.unquote(target.path)
            file = path
            if name:
                file = (site / name.lstrip("/") if name.startswith("/") else path.parent / name).resolve()
            if file.is_dir():
                file /= "index.html"
            if not file.is_relative_to(site) or not file.exists():
                # The page for what is not found stands at the root of any server.
                problems.append(f"{where}: {link} leads nowhere")
            elif target.fragment and file in pages:
                place = urllib.parse.unquote(target.fragment)
                if place not in pages[file].places and not place.startswith("__"):
                    problems.append(f"{where}: {link}: there is no such place in {file.relative_to(site)}")
    if not any((site / name / "index.html").exists() for name in ("reference",)):
        problems.append("the reference is missing")
    if "--outside" in sys.argv:
        print("\n".join(sorted(outside)))
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    print(f"{checked} links in {len(pages)} pages, {len(problems)} of them wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
