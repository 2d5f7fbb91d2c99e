/*
 * The mode `available`, for spin: one session on three nodes, ranked 0, 1, 2, of which any may crash and return. No cuts, and nobody is
 * taken for dead who is not; but each learns of a death, and of a return, when it learns of it. README.md, "The mode available".
 * Bounds, by -D: NUMS (epoch counters 1..NUMS), CRASHES. Mutations: the words that begin with NO_ or BUG_.
 */
#define N 3
#ifndef NUMS
#define NUMS 3
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#define EPOCHS (NUMS * N)

/* Epochs and records as in fenced.pml: contents are the set of writes that went in. */
#define EPOCH(num, n) (((num) - 1) * N + (n) + 1)
#define COUNTER(e) (((e) + N - 1) / N)
#define NODE(e) (((e) + N - 1) % N)
#define BIT(n) (1 << (n))
#define RECORD(e, set) ((e) << 4 | (set))
#define RE(n) (rec[n] >> 4)
#define RS(n) (rec[n] & 7)
#define W0 1
#define W1 2
#define DELETE 4
#define ALL 7
#define OWNS(n) (own & BIT(n))
#define UP(n) (!(down & BIT(n)))
/* Who does not answer me is waited for until my view says that it is gone. */
#define GONE(n, m) (gone[n] & BIT(m))
#define FIRST_IN_LINE(n) ((BIT(n) - 1 & ~gone[n]) == 0)
#define HEARD_ALL(n) ((heard[n] | gone[n] | BIT(n)) == ALL)

/* Persisted. */
byte rec[N] = 16;
byte own = 1;
/* Lost by a crash. */
byte doubt;     /* started with a session of its own: not served until validated */
byte taking;    /* nodes that ask the others for a takeover */
byte heard[N];  /* of those asked, who has answered */
byte best[N];   /* the newest record that they have shown */
/* The world. */
byte down;
byte gone[N];   /* by each node's view */
short sent[EPOCHS + 1];
byte acked;
byte issued;
byte crashes;

hidden byte tmp;
c_decl {
  \#include <stdio.h>
  \#include <string.h>
}
c_code {
  static void happened(const char* what) {
    static const char* seen[16];
    int i;
    for (i = 0; i < 15 && seen[i]; ++i)
      if (strcmp(seen[i], what) == 0) return;
    seen[i] = what;
    printf("reached: %s\n", what);
  }
  static void violated(const char* what) { printf("violated: %s\n", what); }
  /* A line of a trail (pan -r). */
  static void show(void) {
    int n;
    for (n = 0; n < N; ++n)
      printf(" %d:%s%s rec %d.%d/%d gone %x heard %x |", n, now.down >> n & 1 ? "down" : "", now.own >> n & 1 ? "OWN" :
             now.taking >> n & 1 ? "takes" : now.doubt >> n & 1 ? "doubts" : "", COUNTER(now.rec[n] >> 4),
             now.rec[n] ? NODE(now.rec[n] >> 4) : 0, now.rec[n] & 7, now.gone[n], now.heard[n]);
    printf(" acknowledged %d\n", now.acked);
  }
}

/* Ends every step. */
inline done() {
  c_code { if (readtrail) show(); }
}

inline stop_asking(n) {
  taking = taking & ~BIT(n);
  heard[n] = 0;
  best[n] = 0
}

inline stop_owning(n) {
  own = own & ~BIT(n);
  doubt = doubt & ~BIT(n)
}

inline keep(n, e, set) {
  rec[n] = RECORD(e, set);
  sent[e] = sent[e] | BIT(set)
}

/* A copy, on Replicate. A tombstone wins every merge; what is older is refused, and its sender steps down. */
#define REPLICATE(e, set)                                                                                    \
  :: d_step {                                                                                                \
    UP(me) && (sent[e] & BIT(set)) && NODE(e) != me && RECORD(e, set) > rec[me] ->                           \
    stop_owning(me);                                                                                         \
    stop_asking(me);                                                                                         \
    rec[me] = RECORD(e, (set) | (RS(me) & DELETE));                                                                    \
    if :: UP(NODE(e)) && OWNS(NODE(e)) && RE(NODE(e)) == e -> acked = acked | set :: else fi;                \
    done()                                                                                       \
  }
#define REPLICATES(e)                                                                                        \
  REPLICATE(e, 0) REPLICATE(e, 1) REPLICATE(e, 2) REPLICATE(e, 3) REPLICATE(e, 4) REPLICATE(e, 5)            \
  REPLICATE(e, 6) REPLICATE(e, 7)

/* Questions: of a takeover, or of one who has started and asks whether he still owns. */
#define ASKS(n) ((taking | doubt) & BIT(n))
/* As written, everybody answers. Mended: who still takes the asker for dead may be taking over from him, and keeps silent. */
#ifdef BUG_ANSWERS_THE_DEAD
#define ANSWERS(m, n) true
#else
#define ANSWERS(m, n) (!GONE(m, n))
#endif
#define WITH(n)                                                                                              \
  :: d_step {                                                                                                \
    UP(me) && UP(n) && n != me && ASKS(n) && !(heard[n] & BIT(me)) && ANSWERS(me, n) ->                      \
    heard[n] = heard[n] | BIT(me);                                                                           \
    if :: rec[me] > best[n] -> best[n] = rec[me] | (best[n] & DELETE)                                        \
       :: else -> best[n] = best[n] | (rec[me] & DELETE) fi;                                                 \
    done()                                                                                       \
  }                                                                                                          \
  /* The view. */                                                                                            \
  :: d_step { UP(me) && !UP(n) && n != me && !GONE(me, n) -> gone[me] = gone[me] | BIT(n); done() } \
  :: d_step { UP(me) && UP(n) && GONE(me, n) -> gone[me] = gone[me] & ~BIT(n); done() }          \
  /* A sender is refused by who has a higher epoch, and steps down. */                                       \
  :: d_step { UP(me) && UP(n) && OWNS(n) && RE(n) < RE(me) -> stop_owning(n); done() }

#ifdef BUG_ASKS_NOBODY
#define ASKED_ENOUGH(n) true
#else
#define ASKED_ENOUGH(n) HEARD_ALL(n)
#endif

#define me _pid

active [N] proctype node() {
  do
  /* Writes, at the owner: one other copy must have them. */
  :: d_step { UP(me) && OWNS(me) && !(RS(me) & DELETE) && !(issued & W0) -> issued = issued | W0; keep(me, RE(me), RS(me) | W0); done() }
  :: d_step {
    UP(me) && OWNS(me) && !(RS(me) & DELETE) && (issued & W0) && !(issued & W1) ->
    issued = issued | W1; keep(me, RE(me), RS(me) | W1); done()
  }
  :: d_step {
    UP(me) && OWNS(me) && !(issued & DELETE) -> issued = issued | DELETE; keep(me, RE(me), RS(me) | DELETE); done()
  }
  /* Takeover: the first in line, when the owner is gone by its view; it waits for all whom its view has. */
  :: d_step {
    UP(me) && rec[me] && !OWNS(me) && !ASKS(me) && !(RS(me) & DELETE) && NODE(RE(me)) != me && GONE(me, NODE(RE(me))) &&
      FIRST_IN_LINE(me) ->
    taking = taking | BIT(me); done()
  }
  :: d_step {
    UP(me) && (taking & BIT(me)) && ASKED_ENOUGH(me) && FIRST_IN_LINE(me) &&
      GONE(me, NODE((best[me] > rec[me] -> best[me] : rec[me]) >> 4)) &&
      COUNTER((best[me] > rec[me] -> best[me] : rec[me]) >> 4) < NUMS ->
    tmp = (best[me] > rec[me] -> best[me] : rec[me]) | (best[me] & DELETE);
    stop_asking(me);
    own = own | BIT(me);
    keep(me, EPOCH(COUNTER(tmp >> 4) + 1, me), tmp & 7);
    tmp = 0;
    done()
  }
  /* The owner came back, or somebody took over: the question is moot. */
  :: d_step { UP(me) && (taking & BIT(me)) && !GONE(me, NODE(RE(me))) -> stop_asking(me); done() }
  /* Coming back: a former owner asks everybody before it serves. */
  :: d_step {
    UP(me) && crashes < CRASHES ->
    crashes++;
    down = down | BIT(me);
    stop_owning(me);
    stop_asking(me);
    gone[me] = 0;
    done()
  }
  :: d_step {
    !UP(me) ->
    down = down & ~BIT(me);
    if
    :: rec[me] && NODE(RE(me)) == me ->
#ifdef NO_VALIDATION
      own = own | BIT(me)
#else
      doubt = doubt | BIT(me)
#endif
    :: else
    fi;
    done()
  }
  :: d_step {
    UP(me) && (doubt & BIT(me)) && HEARD_ALL(me) ->
    doubt = doubt & ~BIT(me);
    if
    :: best[me] >> 4 > RE(me) -> skip /* a copy from now on: the owner will send */
    :: else ->
      own = own | BIT(me);
      keep(me, RE(me), RS(me) | (best[me] & DELETE))
    fi;
    stop_asking(me);
    done()
  }
  WITH(0)
  WITH(1)
  WITH(2)
  REPLICATES(1)
  REPLICATES(4)
  REPLICATES(5)
  REPLICATES(6)
#if NUMS > 2
  REPLICATES(7)
  REPLICATES(8)
  REPLICATES(9)
#endif
  od
}

#define SERVES(n) (UP(n) && OWNS(n) != 0)
#define SUM(f) (f(0) + f(1) + f(2))
#define SERVES_LESS(n) (SERVES(n) && (acked & ~RS(n) & (W0 | W1)))
#define SERVES_DELETED(n) (SERVES(n) && (acked & ~RS(n) & DELETE))
#define SERVES_LATER(n) (SERVES(n) && COUNTER(RE(n)) > 1)
#define NEVER(what, condition) :: d_step { (condition) -> c_code { violated(what); }; assert(false) }
#define GOAL(what, condition) :: d_step { (condition) -> c_code { happened(what); } }

active proctype watcher() {
  do
  NEVER("two nodes serve one session", SUM(SERVES) > 1)
  NEVER("an acknowledged write is lost", SUM(SERVES_LESS))
  NEVER("a deleted session is served again", SUM(SERVES_DELETED))
  GOAL("taken over after a crash, and all writes acknowledged", SUM(SERVES_LATER) && acked == ALL)
  GOAL("restarted, and served again in its epoch", crashes && SERVES(0) && RE(0) == 1)
  GOAL("a former owner returns while another serves", (doubt & BIT(0)) && SUM(SERVES_LATER))
  od
}
