// For builds with the address or thread sanitizer: nothing that was loaded is unloaded. Open MPI unloads its
// components before the process ends, when leaks are looked for; what they leaked would have no
// names any more that lsan.supp could match, nor that tell it from our leaks. And the thread sanitizer
// gives up when a library that tsan.supp names is unloaded.
extern "C" int dlclose(void*) { return 0; }
