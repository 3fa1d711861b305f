// What shoal run is made of, where no process is needed: host lists, layouts, output, restarts.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

#include "command_line.hpp"
#include "failure.hpp"
#include "hosts.hpp"
#include "layout.hpp"
#include "pins.hpp"
#include "process.hpp"
#include "rank_output.hpp"
#include "restart.hpp"
#include "slurm.hpp"

namespace shoal::launch {
namespace {

using Hosts = std::vector<Host>;

TEST(Hosts, AreReadFromListsAndFiles) {
  EXPECT_EQ(parse_host_list("a,b:4,a"), (Hosts{{"a", 2}, {"b", 4}}));
  EXPECT_EQ(parse_hostfile("# all\n n1 slots=4 max_slots=8 # big\n\nn2:2\r\nn3", "f"),
            (Hosts{{"n1", 4}, {"n2", 2}, {"n3", 0}}));
  for (const char* wrong :
       {"", ",", "a,", "a:0", "a:x", "-oProxyCommand=x", "a b", "a:99999999999"}) {
    EXPECT_THROW(parse_host_list(wrong), UsageError) << wrong;
  }
  for (const char* wrong : {"", "# none", "a slots=", "a slots=-1", "a slot=3", "a 4", "a:2:3"}) {
    EXPECT_THROW(parse_hostfile(wrong, "f"), UsageError) << wrong;
  }
}

// Whatever bytes a file holds, it is refused with a line of printable text or gives hosts that make
// sense, and those give the same hosts when they are written down again.
TEST(Hosts, SurviveDamagedFiles) {
  std::mt19937_64 random = testing::generator();
  const std::string whole =
      "# hosts\nnode1 slots=4 max_slots=8\nnode-2.cluster:16\n10.0.0.3\nnode1\n";
  const std::string alphabet = std::string("\0\n\r\t #:=,-_.a1slots\xff", 20);
  for (int i = 0; i < 20000; ++i) {
    std::string text = whole;
    for (auto change = random() % 8; change > 0 && !text.empty(); --change) {
      const auto at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = alphabet[random() % alphabet.size()];
          break;
        case 1:
          text.erase(at, random() % 8);
          break;
        case 2:
          text.insert(at, 1 + random() % 3, alphabet[random() % alphabet.size()]);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 30));
      }
    }
    try {
      std::string again;
      const Hosts hosts = parse_hostfile(text, "f");
      for (const Host& host : hosts) {
        ASSERT_FALSE(host.name.empty());
        ASSERT_GE(host.slots, 0);
        again += host.name + (host.slots > 0 ? " slots=" + std::to_string(host.slots) : "") + '\n';
      }
      ASSERT_EQ(parse_hostfile(again, "f"), hosts);
    } catch (const UsageError& error) {
      for (const char c : error.message()) ASSERT_TRUE(c >= ' ' && c < 127) << error.message();
    }
    try {
      parse_slurm_counts(text.substr(random() % (text.size() + 1), random() % 20));
    } catch (const Error&) {
    }
  }
}

std::vector<int> ranks_of(const Layout& layout) {
  std::vector<int> ranks;
  for (const Layout::Share& share : layout.shares) ranks.push_back(share.ranks);
  return ranks;
}

TEST(Layout, GivesEachCoreARank) {
  const Layout layout = lay_out({{"a", 4}, {"b", 2}}, {});
  EXPECT_EQ(ranks_of(layout), (std::vector{4, 2}));
  EXPECT_EQ(layout.threads, 1);
  EXPECT_FALSE(layout.oversubscribed);
  EXPECT_EQ(layout.host_of(3).name, "a");
  EXPECT_EQ(layout.host_of(4).name, "b");
}

TEST(Layout, NeverOverfillsAHostWhileAnotherHasRoom) {
  std::mt19937_64 random = testing::generator();
  for (int i = 0; i < 500; ++i) {
    Hosts hosts;
    int cores = 0;
    for (auto n = 1 + random() % 6; n > 0; --n) {
      hosts.push_back({"h" + std::to_string(n), static_cast<int>(1 + random() % 8)});
      cores += hosts.back().slots;
    }
    LayoutWish wish;
    wish.ranks = static_cast<int>(1 + random() % 64);
    wish.threads = 1;
    const Layout layout = lay_out(hosts, wish);
    EXPECT_EQ(layout.ranks(), *wish.ranks);
    EXPECT_EQ(layout.oversubscribed, *wish.ranks > cores);
    EXPECT_EQ(layout.shares.size(),
              std::min<std::size_t>(hosts.size(), static_cast<std::size_t>(*wish.ranks)));
  }
}

TEST(Layout, GivesThreadsTheCoresOfARank) {
  LayoutWish wish;
  wish.ranks_per_host = 2;
  EXPECT_EQ(lay_out({{"a", 8}, {"b", 4}}, wish).threads, 2);
  wish.threads = 3;
  EXPECT_TRUE(lay_out({{"a", 8}, {"b", 4}}, wish).oversubscribed);
  wish.ranks = 5;
  EXPECT_THROW(lay_out({{"a", 8}, {"b", 4}}, wish), UsageError);
}

TEST(Pins, AreOfCoresThatAreThere) {
  const std::vector<std::vector<int>> cores{{1, 9}, {4}, {6, 14}};
  EXPECT_EQ(deal_cores(cores, 3, 1), (Pins{{1, 9}, {4}, {6, 14}}));
  EXPECT_EQ(deal_cores(cores, 1, 2), (Pins{{1, 9, 4}}));
  EXPECT_TRUE(deal_cores(cores, 2, 2).empty());
  const Pins pins = deal_cores(cores, 2, 1);
  EXPECT_EQ(pins_text(pins), "1,9;4");
  EXPECT_EQ(parse_pins(pins_text(pins)), pins);
  for (const char* wrong : {"", ";", "1,,2", "1;;2", "-1", "x", "1,2 ", "99999999999", "70000"}) {
    EXPECT_THROW(parse_pins(wrong), UsageError) << wrong;
  }
}

TEST(Pins, StandBeforeTheProgram) {
  JobLine job;
  job.layout = lay_out({{"here", 4}}, {});
  job.program = {"program", "word"};
  job.pins = {{1}, {2}, {4}, {7}};
  const std::string line = shell_line(mpirun_line(job));
  EXPECT_NE(line.find("--bind-to none"), std::string::npos) << line;
  EXPECT_NE(line.find(" run --pin '1;2;4;7' -- program word"), std::string::npos) << line;
}

// All that was heard of a rank (at 2 (rank + 1), the errors behind), joined.
struct Heard {
  std::vector<std::string> texts = std::vector<std::string>(7);
  XmlDecoder::Text ear() {
    return [this](int rank, Stream stream, std::string_view text) {
      texts.at(static_cast<std::size_t>(2 * (rank + 1) + (stream == Stream::output ? 0 : 1))) +=
          text;
    };
  }
};

TEST(XmlDecoder, GivesBackTheBytesHoweverTheTextIsCut) {
  const std::string xml =
      "<mpirun>\n<stdout rank=\"0\">a &lt;b&gt; &amp;&#010;</stdout>\n<stderr "
      "rank=\"1\">x&#-30;&#156;"
      "&#147;</stderr><stdout rank=\"0\">part</stdout>\n<stderr>mpirun "
      "says&#010;</stderr>\n</mpirun>\n";
  for (std::size_t step = 1; step < xml.size(); ++step) {
    Heard heard;
    XmlDecoder decoder(heard.ear());
    for (std::size_t at = 0; at < xml.size(); at += step)
      decoder.feed(std::string_view(xml).substr(at, step));
    decoder.finish();
    EXPECT_EQ(heard.texts[2], "a <b> &\npart") << step;
    EXPECT_EQ(heard.texts[5], "x\xe2\x9c\x93") << step;
    EXPECT_EQ(heard.texts[1], "mpirun says\n") << step;
  }
}

TEST(XmlDecoder, PassesOnWhatIsNoMarkup) {
  Heard heard;
  XmlDecoder decoder(heard.ear());
  decoder.feed("a < b and <nonsense> & so on <stdout rank=\"x\">y");
  decoder.finish();
  EXPECT_EQ(heard.texts[1], "a < b and <nonsense> & so on <stdout rank=\"x\">y");
}

TEST(LabelDecoder, TellsRanksFromSrun) {
  Heard heard;
  LabelDecoder decoder(Stream::errors, heard.ear());
  decoder.feed("0: a: b\n 1: c\nsrun: error: v1: ta");
  decoder.feed("sk 0: Killed\n1:\n");
  decoder.finish();
  EXPECT_EQ(heard.texts[3], "a: b\n");
  EXPECT_EQ(heard.texts[5], "c\n\n");
  EXPECT_EQ(heard.texts[1], "srun: error: v1: task 0: Killed\n");
}

TEST(LineWriter, KeepsLinesWhole) {
  char* text = nullptr;
  std::size_t size = 0;
  std::FILE* file = open_memstream(&text, &size);
  LineWriter writer(file, [](int rank) { return "[" + std::to_string(rank) + "] "; });
  writer.write(0, "one ");
  writer.write(1, "two\nthr");
  writer.write(0, "line\n");
  writer.flush_begun();
  writer.write(1, "ee\n");
  writer.write(0, "begun");
  writer.finish();
  std::fclose(file);
  EXPECT_EQ(std::string(text, size), "[1] two\n[0] one line\n[1] three\n[0] begun\n");
  std::free(text);
}

TEST(Failure, IsFoundInWhatMpirunAndSrunSay) {
  EXPECT_EQ(find_failure("x\nmpirun noticed that process rank 3 with PID 0 on node n7 exited on "
                         "signal 9 (Killed).")
                ->text(),
            "rank 3 on n7 was killed by signal 9 (Killed)");
  EXPECT_EQ(find_failure("  Process name: [[9670,1],1]\n  Exit code:    7\n")->text(),
            "rank 1 ended with status 7");
  EXPECT_EQ(find_failure("srun: error: v2: task 1: Exited with exit code 7\n")->text(),
            "rank 1 on v2 ended with status 7");
  EXPECT_EQ(find_failure("srun: error: v2: task 1: Killed\n")->status, 137);
  EXPECT_FALSE(find_failure("all is well"));
  EXPECT_TRUE(never_began("ORTE was unable to reliably start one or more daemons.\nThis usually"));
  EXPECT_FALSE(never_began("all is well"));
  EXPECT_EQ(find_lost_host("ORTE has lost communication with a remote daemon.\n\n"
                           "  HNP daemon   : [[5,0],0] on node h0\n"
                           "  Remote daemon: [[5,0],2] on node h2\n\nThis is usually due to"),
            "h2");
  EXPECT_FALSE(find_lost_host("  Remote daemon: [[5,0],2] on node h2"));
}

TEST(Restart, FitsTheMesh) {
  const auto fits = [](const char* mesh, int ranks, const std::string& expected, int used) {
    const MeshFit fit = fit_mesh(mesh, ranks);
    EXPECT_EQ(fit.mesh, expected);
    EXPECT_EQ(fit.ranks, used);
  };
  fits("dp=4,tp=2", 7, "dp=3,tp=2", 6);
  fits("dp=2,tp=4", 8, "dp=2,tp=4", 8);
  fits("dp=2,tp=4", 100, "dp=2,tp=4", 8);
  fits("dp=2,tp=4", 3, "", 3);
  fits("tp=4", 3, "", 3);
  fits("dp=2,pp=2,tp=2", 7, "dp=1,pp=2,tp=2", 4);
  fits("pp=4,dp=2", 8, "pp=4,dp=2", 8);
  fits("pp=4", 3, "pp=3", 3);
  fits("dp=2,pp=2,tp=2", 3, "dp=1,pp=1,tp=2", 2);
}

TEST(Restart, ReadsAndRemovesFlags) {
  const Words words{"shoal", "train", "--mesh", "dp=2", "--out-dir=a", "--mesh=tp=2", "--resume"};
  EXPECT_EQ(flag_value(words, "--mesh"), "tp=2");
  EXPECT_EQ(flag_value(words, "--out-dir"), "a");
  EXPECT_FALSE(flag_value(words, "--data"));
  EXPECT_EQ(without_flag(words, "--mesh"), (Words{"shoal", "train", "--out-dir=a", "--resume"}));
  // No checkpoint: from the beginning.
  EXPECT_EQ(resumed_words({"train", "--out-dir", "/nonexistent", "--resume"}),
            (Words{"train", "--out-dir", "/nonexistent"}));
}

TEST(Slurm, CountsPerNode) {
  EXPECT_EQ(parse_slurm_counts("2(x3),4"), (std::vector{2, 2, 2, 4}));
  EXPECT_THROW(parse_slurm_counts("2(x99999999)"), Error);
  EXPECT_THROW(parse_slurm_counts("2(x3"), Error);
}

TEST(Slurm, KnowsWhichNodesAreGone) {
  EXPECT_EQ(parse_gone_nodes("n1 allocated\nn1 allocated\nn2 down\nn3 idle*\nn4 mixed\nn5 draining\n"
                             "n6 drained\nn7 down*\nn8 powered_down\nn9 idle~\nn10 completing\n"
                             "n11 reboot^\nn12 unknown\n\nn13\n"),
            (std::set<std::string>{"n2", "n3", "n7", "n8", "n9", "n11", "n12"}));
  EXPECT_TRUE(parse_gone_nodes("").empty());
}

TEST(Process, CapturesAndGivesUp) {
  const Captured said =
      capture({"sh", "-c", "echo out; echo err >&2; exit 3"}, std::chrono::seconds(20));
  EXPECT_EQ(said.status, 3);
  EXPECT_EQ(said.output, "out\n");
  EXPECT_EQ(said.errors, "err\n");
  EXPECT_EQ(capture({"/nonexistent/program"}, std::chrono::seconds(5)).status, 127);
  EXPECT_EQ(capture({"sleep", "60"}, std::chrono::seconds(0)).status, -1);
  EXPECT_EQ(shell_line({"a", "b c", "", "it's"}), "a 'b c' '' 'it'\\''s'");
}

}  // namespace
}  // namespace shoal::launch
