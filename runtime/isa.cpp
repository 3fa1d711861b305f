#include <shoal/runtime/isa.hpp>

#include <cstdlib>

#include <shoal/runtime/error.hpp>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace shoal {
namespace {

#if defined(__x86_64__)
bool cpuid_bit(unsigned leaf, unsigned subleaf, int reg, int bit) {
  unsigned regs[4] = {};
  if (!__get_cpuid_count(leaf, subleaf, &regs[0], &regs[1], &regs[2], &regs[3])) return false;
  return (regs[reg] >> bit) & 1u;
}

// Linux gives a process the AMX tile registers only when it asks for them.
bool system_allows_amx() {
  constexpr int arch_req_xcomp_perm = 0x1023;
  constexpr int tile_data = 18;
  static const bool allowed = syscall(SYS_arch_prctl, arch_req_xcomp_perm, tile_data) == 0;
  return allowed;
}
#endif

Isa strongest_isa() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    return Isa::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("bmi2")) {
    return Isa::avx2;
  }
#endif
  return Isa::baseline;
}

Isa choose_isa() {
  const Isa best = strongest_isa();
  const char* wish = std::getenv("SHOAL_ISA");
  if (wish == nullptr || *wish == '\0') return best;
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512}) {
    if (name_of(isa) != wish) continue;
    if (isa > best) {
      throw UsageError("SHOAL_ISA", "this processor does not have " + std::string(wish),
                       "use " + std::string(name_of(best)) + " or weaker");
    }
    return isa;
  }
  throw UsageError("SHOAL_ISA", "unknown instruction set '" + std::string(wish) + "'",
                   "use baseline, avx2 or avx512");
}

}  // namespace

Isa selected_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

std::string_view name_of(Isa isa) noexcept {
  switch (isa) {
    case Isa::baseline: return "baseline";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
  }
  return "?";
}

bool has_amx_bf16() noexcept {
#if defined(__x86_64__)
  return cpuid_bit(7, 0, 3, 22) && cpuid_bit(7, 0, 3, 24) && system_allows_amx();
#else
  return false;
#endif
}

bool has_avx512_bf16() noexcept {
#if defined(__x86_64__)
  return strongest_isa() == Isa::avx512 && cpuid_bit(7, 1, 0, 5);
#else
  return false;
#endif
}

bool has_avx512_vnni() noexcept {
#if defined(__x86_64__)
  return strongest_isa() == Isa::avx512 && cpuid_bit(7, 0, 2, 11);
#else
  return false;
#endif
}

std::string processor_features() {
  std::string text;
  const auto add = [&text](bool present, const char* name) {
    if (!present) return;
    if (!text.empty()) text += ' ';
    text += name;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  add(__builtin_cpu_supports("sse4.2"), "sse4.2");
  add(__builtin_cpu_supports("avx"), "avx");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(has_avx512_vnni(), "avx512_vnni");
  add(has_avx512_bf16(), "avx512_bf16");
  add(has_amx_bf16(), "amx_bf16");
#elif defined(__aarch64__)
  add(true, "neon");
#endif
  return text;
}

}  // namespace shoal
