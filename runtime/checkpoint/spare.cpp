#include "checkpoint/spare.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <system_error>

namespace shoal {
namespace {

namespace fs = std::filesystem;

// Local ones that keep a file's blocks when it is written over. Not btrfs and its like, which write
// elsewhere anyway; not network file systems, on which a lease says nothing of other hosts.
bool writes_in_place(const fs::path& path) {
  struct statfs of {};
  if (::statfs(path.c_str(), &of) != 0) return false;
  return of.f_type == EXT4_SUPER_MAGIC || of.f_type == XFS_SUPER_MAGIC;
}

// The kernel grants a lease for writing to who alone has a file open or mapped.
bool only_ours(int file) {
  struct stat info {};
  if (::fstat(file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1) return false;
  if (::fcntl(file, F_SETLEASE, F_WRLCK) != 0) return false;
  // The folder is hidden: nobody comes after this.
  return ::fcntl(file, F_SETLEASE, F_UNLCK) == 0;
}

}  // namespace

fs::path spare_folder(const fs::path& root) { return root / ".spare"; }

bool keep_as_spare(const fs::path& root, const fs::path& folder) {
  const fs::path spare = spare_folder(root);
  std::error_code code;
  if (fs::exists(spare, code) || code || !writes_in_place(root)) return false;
  fs::rename(folder, spare, code);
  return !code;
}

bool take_spare(const fs::path& root, const fs::path& to) {
  std::error_code code;
  fs::rename(spare_folder(root), to, code);
  return !code;
}

void remove_spare(const fs::path& root) {
  std::error_code ignored;
  fs::remove_all(spare_folder(root), ignored);
}

int open_spare_file(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | flags);
  if (file < 0 || only_ours(file)) return file;
  ::close(file);
  return -1;
}

}  // namespace shoal
