"""What stands between the learner's file and the tests of a lesson.

How a file is graded
  catalogue   which lessons there are, and what `pytest lessons/03` means
  candidate   loads the file that is graded in the place of `solutions.<slug>`
  loop        the event loop on which everything runs
  client      sends requests to its app
  wire        hands one request to an app, and collects the answer
  login_form  builds FastAPI's login form without a hop to a thread
  verdicts    what a test's end means: refused, open, wrong, waiting for a TODO
  composite   the graded file with some of its parts taken from the reference
  blame       which part is at fault: the one whose replacement makes the test pass
  signs       which known mistake the file looks like, by the way in which its tests fail
  slips       the `return`, `await` or `raise` that seems to be missing in it
  escapes     what is raised past every `except Exception`, as a failure of its test
  output      keeps sys.stdout ours, whatever the file does to it
  encoding    what is odd about a file's bytes, in a sentence
  limit       ends a test that would not end
  transcript  what happened, for the learner to read when an attack succeeds
  screen      the last lines on the terminal
  hints       the hints of a lesson's HINTS.md, for the screen
  reset       brings a starter back; starters/ has them, untouched
  watch       runs again at every save
  keys        single keys from the terminal, while it watches
  warm        has imported all libraries, and runs pytest in a fork of itself
  warm_pytest begins such a process and gives it orders
  grade       how the tests of a lesson ended on a file

How a class is graded
  classroom   a line for each student and lesson
  submissions what they handed in, and what is no such file
  hand_in     grades one, in processes of its own
  fresh_copy  copies of the workbook, one for each
  sandbox     runs the tests in one, inside of the walls
  walls       limits, and what shuts a process off
  family      watches over a process and all that it begins, and ends them together
  witness     sees each test run, beside pytest's own report
  testimony   makes a grade of what a witness said

How an app of the reader's own is attacked
  your_app    the attacks of the lessons for any app with a description; it has a list of its own

What the tests of all lessons use
  stores      the stores, as tests call them
  kept        what the stores keep, in memory or in a database
  in_database lets all stores be in a database: any_loop lets every thread use it
  visitors    browsers, as far as cookies and forms go
  abroad      logins at providers, there and back
  provider    a provider that can lie; provider_page is a class's own
  internet    lets providers be all that can be reached
  people      the short ways to log in and to speak as somebody
  hostile     the tokens and passwords that every lesson must refuse
  routes      which routes an app has, documented or not
  meter       counts password hashing, so that no test needs a stopwatch
  rest        whether a thread of this process, or its event loop, can still go on
  primitives  which calls of which libraries hash passwords, and what they cost
  cheap_bcrypt, cheap_kdf   make them cheap at any cost, for the salts of this run
  clock       moves the clock and the zone, or lets it jump
  race        makes check-then-act lose every time
  workers     two workers of an app on one database
  postgresql  what PostgreSQL makes of a statement, as far as races go
  storm       logins that come all at once, or while every hashing thread is busy
  crowd       many people at once, and each gets what is theirs
  failing     a store that fails, dawdles, or notes what is called
  bare        a bare ASGI app inside of a wrapper
  scripted    counters that answer what a test tells them to
  counted     names and places of all kinds, and what the keys of counters tell apart
  hops        lists of hops as chance has them, and whom a walk through them reaches
  elsewhere   a module as another process has it
  answers     compares answers whole, and finds headers without a reason
  reads       notes what is read of a request; noting is the request that does
  side_doors  what to send beside a refused request, for what was read
  strangers   whether a route that nobody asked for tells of other people
  outside     what comes from outside of the app
  literals    the texts that stand in the graded file, to try them
  memory      what a module and the stores keep
  trap        holds what is logged, warned of and printed, and refuses secrets in it
  spelling    finds a secret in a text, in any spelling (spellings, readings), and its parts
  randomness  whether a secret comes from true randomness, and all of it counts
  folds       draws that look alike to whoever folds them to few bits
  near_misses what is nearly a live secret
  mac_keys    with which keys signatures are computed, how much is decoded, and headers that may
              choose another key
  brought_keys  tokens signed with a key that they bring along
  brought_ids   ids of requests in the headers of proxies, CDNs and tracers
  stand_in    puts a function in the place of a library's, for a block
"""
