#include <stdio.h>

#include <shoal.h>

int main(void) {
  shoal_comm *world;
  double x = 1;
  if (shoal_init() != SHOAL_OK || shoal_world(&world) != SHOAL_OK ||
      shoal_all_reduce(world, &x, &x, 1, SHOAL_F64, SHOAL_SUM) != SHOAL_OK) {
    fprintf(stderr, "%s\n", shoal_last_error());
    return 1;
  }
  if (shoal_rank(world) == 0) printf("%.0f ranks from C\n", x);
  return shoal_finalize();
}
