/* Prints what the C library finds for a name, as most programs ask for it: both families. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    struct addrinfo hints, *found, *each;
    char text[64];
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    int error = getaddrinfo(argv[1], 0, &hints, &found);
    if (error) {
        printf("failed: %s\n", gai_strerror(error));
        return 1;
    }
    for (each = found; each; each = each->ai_next)
        if (!getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST))
            printf("%s ", text);
    return 0;
}
