/* Presses Ctrl-C in the console of a process: ctrl_c.exe PID */
#include <stdlib.h>
#include <windows.h>

int main(int count, char **arguments) {
  if (count != 2) return 2;
  FreeConsole();
  if (!AttachConsole(strtoul(arguments[1], NULL, 10))) return 3;
  SetConsoleCtrlHandler(NULL, TRUE); /* This process is in that console now, and keeps running. */
  return GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0) ? 0 : 4;
}
