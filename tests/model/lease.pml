/*
 * One lease, from one granter to one holder, with clocks: shows what fenced.pml takes for granted, that what the holder counts on has
 * always lapsed by its own clock before the granter promises its keys to another. README.md, "Time".
 *
 * Time goes in ticks up to HORIZON. Each clock shows the ticks, but may gain or lose one, at most once in any WINDOW ticks; so two
 * clocks part by at most 2 within a lease. Asks and answers may be late, lost, repeated or overtake each other.
 */
#define LEASE 4
#ifdef NO_MARGIN
#define MARGIN 0
#else
#define MARGIN 2
#endif
#define WINDOW (LEASE + 2)
/* Leases are judged one by one: what else was granted only makes the granter wait longer. Time begins with the (first) ask; after two
 * leases and what the clocks may lose in them all is over. */
#ifndef ASKS
#define ASKS 1
#endif
#define HORIZON (2 * LEASE + 2 * ASKS)

byte ticks;
byte holder_clock = 1;
byte granter_clock = 1;
byte holder_steady = WINDOW;  /* ticks since the clock last gained or lost one */
byte granter_steady = WINDOW;
byte stamp[ASKS]; /* asks, by the holder's clock when it asked; in flight from then on. 0: not yet */
bit answered[ASKS]; /* answers in the first term, in flight from then on */
byte valid_until;   /* holder, by its clock */
byte granted_until; /* granter, by its clock: lost by a restart */
byte waits_until;   /* granter: after a restart, for what it may have granted before */
bit promised;       /* the granter has promised a key of the holder's to another; what it grants later is of another term */
bit restarted;
hidden byte gain;

c_decl {
  \#include <stdio.h>
  \#include <string.h>
}
c_code {
  static void happened(const char* what) {
    static const char* seen[8];
    int i;
    for (i = 0; i < 8 && seen[i]; ++i)
      if (strcmp(seen[i], what) == 0) return;
    if (i < 8) seen[i] = what;
    printf("reached: %s\n", what);
  }
}

#define HOLDS (holder_clock < valid_until)
#define FREE (granter_clock >= granted_until && granter_clock >= waits_until)

inline check() {
  if
  :: promised && HOLDS -> c_code { printf("violated: a lease is counted on after the key was promised away\n"); }; assert(false)
  :: else
  fi;
  if :: HOLDS && restarted -> c_code { happened("granter restarted while the lease is counted on"); } :: else fi;
  if :: promised && restarted -> c_code { happened("promised away after a restart"); } :: else fi;
  if :: promised && granted_until -> c_code { happened("promised away after the lease lapsed"); } :: else fi
}

#define TICK(holder, granter)                                                                                \
  :: d_step {                                                                                                \
    stamp[0] && ticks < HORIZON && ((holder) == 1 || HOLDER_MAY_DRIFT) && ((granter) == 1 || granter_steady >= WINDOW) ->\
    ticks++;                                                                                                 \
    holder_clock = holder_clock + (holder);                                                                  \
    granter_clock = granter_clock + (granter);                                                               \
    holder_steady = (((holder) != 1) -> 0 : (holder_steady < WINDOW -> holder_steady + 1 : WINDOW));         \
    granter_steady = (((granter) != 1) -> 0 : (granter_steady < WINDOW -> granter_steady + 1 : WINDOW));     \
    check()                                                                                                  \
  }
#ifdef BUG_CLOCK_STOPS
#define HOLDER_MAY_DRIFT true
#else
#define HOLDER_MAY_DRIFT (holder_steady >= WINDOW)
#endif

#define ASK(i)                                                                                               \
  :: d_step { !stamp[i] && !promised -> stamp[i] = holder_clock; check() }                                   \
  :: d_step {                                                                                                \
    stamp[i] && !promised && !answered[i] ->                     \
    answered[i] = 1;                                                                                         \
    granted_until = granter_clock + LEASE;                                                                   \
    check()                                                                                                  \
  }                                                                                                          \
  :: d_step {                                                                                                \
    answered[i] && valid_until < COUNTED_FROM(i) + LEASE - MARGIN ->                                         \
    valid_until = COUNTED_FROM(i) + LEASE - MARGIN;                                                          \
    check()                                                                                                  \
  }
#ifdef BUG_FROM_ANSWER
#define COUNTED_FROM(i) holder_clock
#else
#define COUNTED_FROM(i) stamp[i]
#endif

active proctype pair() {
  do
  TICK(1, 1) TICK(0, 1) TICK(2, 1) TICK(1, 0) TICK(1, 2) TICK(0, 0) TICK(0, 2) TICK(2, 0) TICK(2, 2)
  ASK(0)
#if ASKS > 1
  ASK(1)
#endif
  :: d_step { !promised && FREE -> promised = 1; check() }
  :: d_step {
    !restarted && !promised ->
    restarted = 1;
    granted_until = 0;
#ifndef NO_BOOT_WAIT
    waits_until = granter_clock + LEASE;
#endif
    check()
  }
  od
}
