// Times one collective of another MPI library: built when the bench runs, by that library's
// compiler. Rank 0 prints a line "BYTES SECONDS" for each size: the median over repetitions of the
// time of the slowest rank.
//
// mpi_peer OPERATION DTYPE OP SECONDS_A_SIZE BYTES...
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

static double slowest(double seconds) {
  double all = 0;
  MPI_Allreduce(&seconds, &all, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return all;
}

static double timed(const std::function<void()>& call, int times) {
  MPI_Barrier(MPI_COMM_WORLD);
  const double start = MPI_Wtime();
  for (int i = 0; i < times; ++i) call();
  return (MPI_Wtime() - start) / times;
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc < 6) return 2;
  const std::string operation = argv[1];
  const std::map<std::string, MPI_Datatype> types = {{"f32", MPI_FLOAT},     {"f64", MPI_DOUBLE},
                                                     {"i8", MPI_INT8_T},     {"i32", MPI_INT32_T},
                                                     {"i64", MPI_INT64_T}};
  const std::map<std::string, MPI_Op> ops = {
      {"sum", MPI_SUM}, {"min", MPI_MIN}, {"max", MPI_MAX}, {"prod", MPI_PROD}};
  if (types.count(argv[2]) == 0 || ops.count(argv[3]) == 0) {
    MPI_Finalize();  // nothing to compare
    return 0;
  }
  const MPI_Datatype type = types.at(argv[2]);
  const MPI_Op op = ops.at(argv[3]);
  const double budget = std::atof(argv[4]);
  int element = 1;
  MPI_Type_size(type, &element);

  for (int arg = 5; arg < argc; ++arg) {
    const long long bytes = std::atoll(argv[arg]);
    const int count = std::max(1, static_cast<int>(bytes / element));
    const int each = std::max(1, count / ranks);
    const std::size_t room = static_cast<std::size_t>(std::max(count, each * ranks)) *
                             static_cast<std::size_t>(element);
    std::vector<char> in(room, 0);
    std::vector<char> out(room, 0);
    std::function<void()> call;
    if (operation == "all_reduce") {
      call = [&] { MPI_Allreduce(in.data(), out.data(), count, type, op, MPI_COMM_WORLD); };
    } else if (operation == "reduce_scatter") {
      call = [&] {
        MPI_Reduce_scatter_block(in.data(), out.data(), each, type, op, MPI_COMM_WORLD);
      };
    } else if (operation == "all_gather") {
      call = [&] { MPI_Allgather(in.data(), each, type, out.data(), each, type, MPI_COMM_WORLD); };
    } else if (operation == "broadcast") {
      call = [&] { MPI_Bcast(in.data(), count, type, 0, MPI_COMM_WORLD); };
    } else if (operation == "all_to_all") {
      call = [&] { MPI_Alltoall(in.data(), each, type, out.data(), each, type, MPI_COMM_WORLD); };
    } else {
      call = [] { MPI_Barrier(MPI_COMM_WORLD); };
    }
    call();
    const double once = std::max(slowest(timed(call, 2)), 1e-8);
    const int times = static_cast<int>(std::clamp(20e-6 / once, 1.0, 200.0));
    const int repetitions = static_cast<int>(std::clamp(budget / (once * times), 7.0, 1000.0));
    std::vector<double> measured;
    for (int i = 0; i < repetitions; ++i) measured.push_back(slowest(timed(call, times)));
    std::sort(measured.begin(), measured.end());
    if (rank == 0) {
      std::printf("%lld %.9g\n", bytes, measured[measured.size() / 2]);
      std::fflush(stdout);
    }
  }
  MPI_Finalize();
  return 0;
}
