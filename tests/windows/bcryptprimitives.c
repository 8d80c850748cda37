/* bcryptprimitives.dll for Wine 8, which has none: Rust's standard library takes its random numbers from it. */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length); /* RtlGenRandom of advapi32. */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
  for (; length > MAXLONG; buffer += MAXLONG, length -= MAXLONG)
    if (!SystemFunction036(buffer, MAXLONG)) return FALSE;
  return SystemFunction036(buffer, (ULONG)length);
}
