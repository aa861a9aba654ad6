/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The promise: loading the library does nothing, in a program that offers nothing of openl2tpd's,
 * and unloading it is harmless: threads and callbacks of ours may still be on their way out.
 *
 *     load LIBRARY
 *
 * It is not linked with the library, and loads it as openl2tpd does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition), exit(1); \
    } while (0)

static int entries(const char *path)
{
    int count = 0;
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    while (readdir(directory) != NULL) count++;
    closedir(directory);
    return count;
}

static int maps(const char *library)
{
    char line[4096];
    int count = 0;
    FILE *file = fopen("/proc/self/maps", "re");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) count += strstr(line, library) != NULL;
    fclose(file);
    return count;
}

int main(int argc, char **argv)
{
    char *path = realpath(argc > 1 ? argv[1] : "", NULL), what[6];
    int fds = entries("/proc/self/fd"), threads = entries("/proc/self/task"), round;
    void *symbol;
    const char *version;
    CHECK(path != NULL);
    CHECK(maps(path) == 0);
    for (round = 0; round < 10; round++) {
        void *library = dlopen(path, RTLD_GLOBAL | RTLD_NOW);
        if (library == NULL) fprintf(stderr, "%s\n", dlerror());
        CHECK(library != NULL);
        CHECK(entries("/proc/self/fd") == fds && entries("/proc/self/task") == threads);
        version = (const char *)dlsym(library, "openl2tp_plugin_version");
        CHECK(version != NULL && sscanf(version, "herald %5[0-9.]", what) == 1);
        /* Clean-up without initialisation, as after a start that failed. */
        symbol = dlsym(library, "openl2tp_plugin_cleanup");
        CHECK(symbol != NULL);
        void (*cleanup)(void);
        memcpy(&cleanup, &symbol, sizeof cleanup);
        cleanup();
        CHECK(entries("/proc/self/fd") == fds && entries("/proc/self/task") == threads);
        CHECK(dlclose(library) == 0);
        CHECK(maps(path) > 0); /* it stays */
    }
    free(path);
    return 0;
}
