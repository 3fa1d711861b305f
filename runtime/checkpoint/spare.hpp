// The files of a checkpoint that is no longer kept, for the next one to be written over: the disk then
// neither frees blocks nor finds new ones. (124M with AdamW's state, on a virtual machine whose disk is
// mounted with `discard`: 0.13 s of each core a save.)
#pragma once

#include <filesystem>

namespace shoal {

/// ROOT/.spare: hidden, as what is unfinished.
std::filesystem::path spare_folder(const std::filesystem::path& root);

/// Makes the spare of this folder, a hidden one in `root`; false if there is one already, or the file
/// system is not one that writes over a file's blocks where they are. The caller then removes it.
bool keep_as_spare(const std::filesystem::path& root, const std::filesystem::path& folder);

/// Gives the spare the name `to`; false if there is none.
bool take_spare(const std::filesystem::path& root, const std::filesystem::path& to);

/// Removes the spare, if there is one.
void remove_spare(const std::filesystem::path& root);

/// Opens a file for writing over what is in it. -1 if it is not there, or if anybody else would see
/// the change: a program that has it open or mapped, another name of the file (a backup by hard
/// links). `flags` are further ones of open().
int open_spare_file(const std::filesystem::path& path, int flags);

}  // namespace shoal
