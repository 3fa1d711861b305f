#include "report/page.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "report/svg.hpp"

namespace shoal::launch::report {
namespace {

std::string key_picture(Tone tone, const char* form) {
  const int number = static_cast<int>(tone);
  const std::string_view kind = form;
  if (kind == "bar") {
    return fmt::format("<svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><polygon class=\"t{}\" "
                       "points=\"6,0 20,0 20,10 6,10\"/></svg>",
                       number);
  }
  if (kind == "points") {
    return fmt::format("<svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><circle class=\"t{}\" "
                       "cx=\"13\" cy=\"5\" r=\"4\"/></svg>",
                       number);
  }
  return fmt::format("<svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"t{}\" "
                     "stroke-width=\"2.5\"{} d=\"M1,5 L25,5\"/></svg>",
                     number, kind == "dashed" ? " stroke-dasharray=\"6 5\"" : "");
}

std::string legend_of(const Chart& chart) {
  std::string out = "<ul class=\"legend\">\n";
  const auto add = [&](const std::string& picture, const std::string& name) {
    out += fmt::format("<li>{}{}</li>\n", picture, escaped_text(name));
  };
  for (const Curve& curve : chart.curves) {
    const char* form = curve.form == Curve::Form::points   ? "points"
                       : curve.form == Curve::Form::dashed ? "dashed"
                                                           : "line";
    add(key_picture(curve.tone, form), curve.name);
  }
  for (const auto& [name, tone] : chart.bar_tones) {
    const bool used = std::any_of(chart.bars.begin(), chart.bars.end(),
                                  [tone = tone](const Bar& bar) { return bar.tone == tone; });
    if (used) add(key_picture(tone, "bar"), name);
  }
  if (chart.reference) {
    add("<svg viewBox=\"0 0 26 10\" aria-hidden=\"true\"><path class=\"reference\" "
        "stroke-width=\"1.8\" stroke-dasharray=\"2 4\" d=\"M1,5 L25,5\"/></svg>",
        chart.reference_name);
  }
  return out + "</ul>\n";
}

std::string table_html(const Table& table) {
  // A column of sentences is read from the left.
  const bool words = !table.heads.empty() && table.heads.back() == "source";
  std::string out = fmt::format("<div class=\"scroll\" tabindex=\"0\"><table{}>\n",
                                words ? " class=\"words\"" : "");
  if (!table.title.empty()) {
    out += "<caption>" + escaped_text(table.title) + "</caption>\n";
  }
  out += "<thead><tr>";
  for (const std::string& head : table.heads) {
    out += "<th scope=\"col\">" + escaped_text(head) + "</th>";
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const auto& row : table.rows) {
    out += "<tr>";
    for (const std::string& cell : row) out += "<td>" + escaped_text(cell) + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

const Run* run_of(const Page& page, const std::string& id) {
  for (const Run& run : page.runs) {
    if (run.id == id) return &run;
  }
  return nullptr;
}

std::string caption_of(const Page& page, const Chart& chart) {
  std::string out = "<figcaption>\n<p>" + escaped_text(chart.caption) + "</p>\n<p>";
  for (std::size_t i = 0; i < chart.sources.size(); ++i) {
    const std::string& id = chart.sources[i];
    if (i > 0) out += "<br>\n";
    if (const Run* run = run_of(page, id); run != nullptr && !run->command.empty()) {
      out += "<code>" + escaped_text(run->command) + "</code> → ";
    }
    out += fmt::format("<a href=\"{0}.json\">{0}.json</a>", escaped_text(id));
  }
  return out + "</p>\n</figcaption>\n";
}

std::string figure_html(const Page& page, const Chart& chart, const Drawing* drawing) {
  std::string out = fmt::format("<figure id=\"{}\" data-points=\"{}\">\n<h3>{}</h3>\n",
                                escaped_text(chart.id), chart.point_count(),
                                escaped_text(chart.finding));
  if (drawing != nullptr) {
    out += legend_of(chart);
    if (!chart.curves.empty()) {
      out += "<p class=\"y\" aria-hidden=\"true\">↑ " + escaped_text(chart.y.label) + "</p>\n";
    }
    out += drawing->wide + '\n' + drawing->narrow + '\n';
  }
  out += caption_of(page, chart);
  if (!chart.tables.empty()) {
    out += fmt::format("<details{}><summary>Numbers</summary>\n", drawing == nullptr ? " open" : "");
    for (const Table& table : chart.tables) out += table_html(table);
    out += "</details>\n";
  }
  return out + "</figure>\n";
}

std::string headlines_html(const Page& page) {
  std::string out;
  constexpr std::size_t most = 6;
  std::size_t count = 0;
  for (const Section& section : page.sections) {
    for (const Headline& line : section.findings.headlines) {
      if (count++ == most) break;
      out += fmt::format("<li><a href=\"#{}\"><b>{}</b><span>{}</span></a></li>\n",
                         escaped_text(line.chart), escaped_text(line.number),
                         escaped_text(line.text));
    }
    if (count >= most) break;
  }
  return out.empty() ? out : "<ul class=\"headlines\">\n" + out + "</ul>\n";
}

std::string runs_html(const Page& page) {
  std::string out =
      "<section id=\"runs\">\n<h2>How it was measured</h2>\n<p class=\"lead\">Every figure comes from one "
      "of these files, which lie beside this page.</p>\n<ul class=\"runs\">\n";
  for (const Run& run : page.runs) {
    out += fmt::format("<li><h3>{}</h3>\n", escaped_text(run.title.empty() ? run.id : run.title));
    if (!run.command.empty()) {
      out += "<p><code>" + escaped_text(run.command) + "</code></p>\n";
    }
    if (run.state == Run::State::done) {
      out += fmt::format("<p class=\"soft\">{}<a href=\"{}.json\">{}.json</a></p>\n",
                         run.seconds > 0 ? text_with_unit(run.seconds, Unit::seconds) + ", " : "", run.id,
                         run.id);
    } else {
      out += fmt::format("<p><b class=\"bad\">{}</b>{}{}</p>\n", state_name(run.state),
                         run.problem.empty() ? "" : ": ", escaped_text(run.problem));
    }
    out += "</li>\n";
  }
  return out + "</ul>\n</section>\n";
}

std::string missing_html(const Page& page) {
  std::vector<std::string> titles;
  for (const Run& run : page.runs) {
    if (run.state != Run::State::done) titles.push_back(run.title.empty() ? run.id : run.title);
  }
  std::string out;
  if (!page.undrawn.empty()) {
    out += fmt::format("<p class=\"gap\"><b>No drawings.</b> {}</p>\n", escaped_text(page.undrawn));
  }
  if (!titles.empty()) {
    out += fmt::format("<p class=\"gap\"><b>Not here:</b> {}. <a href=\"#runs\">Why</a></p>\n",
                       escaped_text(listed(titles)));
  }
  return out;
}

}  // namespace

std::string page_html(const Page& page, const std::vector<Drawing>& drawings) {
  // The policy forbids the page to load anything, whatever may have got into it.
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; img-src data:\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta name=\"generator\" content=\"shoal report\">\n"
      "<link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n",
      escaped_text(page.title), page_style());
  out += fmt::format(
      "<header>\n<p class=\"mark\">Shoal</p>\n<h1>{}</h1>\n<p class=\"when\">{}</p>\n{}",
      escaped_text(page.title), escaped_text(page.date), headlines_html(page));
  if (!page.facts.empty()) {
    out += "<dl class=\"facts\">\n";
    for (const auto& [name, value] : page.facts) {
      out += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escaped_text(name), escaped_text(value));
    }
    out += "</dl>\n";
  }
  out += missing_html(page) + "<nav aria-label=\"Contents\"><ul>\n";
  for (const Section& section : page.sections) {
    out += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", section.id, escaped_text(section.title));
  }
  out += "<li><a href=\"#runs\">How it was measured</a></li>\n</ul></nav>\n</header>\n<main>\n";
  std::size_t number = 0;
  for (const Section& section : page.sections) {
    out += fmt::format("<section id=\"{}\">\n<h2>{}</h2>\n<p class=\"lead\">{}</p>\n", section.id,
                       escaped_text(section.title), escaped_text(section.lead));
    for (const Chart& chart : section.findings.charts) {
      const Drawing* drawing = number < drawings.size() ? &drawings[number] : nullptr;
      out += figure_html(page, chart, drawing);
      ++number;
    }
    for (const std::string& gap : section.findings.gaps) {
      out += "<p class=\"gap\">" + escaped_text(gap) + "</p>\n";
    }
    out += "</section>\n";
  }
  return out + runs_html(page) +
         "</main>\n<footer><p>Made by <code>shoal report</code>. No figure here is a promise for other "
         "machines: each comes with its machine and its command.</p></footer>\n</body>\n</html>\n";
}

}  // namespace shoal::launch::report
