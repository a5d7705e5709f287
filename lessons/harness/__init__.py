"""What stands between the learner's file and the tests of a lesson.

catalogue   which lessons there are, and what `pytest lessons/03` means
candidate   loads the file that is graded in the place of `solutions.<slug>`
loop        the event loop on which everything runs
client      sends requests to its app
stores      the stores, as tests call them
people      the short ways to log in and to speak as somebody
race        makes check-then-act lose every time
storm       logins that come all at once, or while every hashing thread is busy
warm        has imported all libraries, and runs pytest in a fork of itself
warm_pytest begins such a process and gives it orders
routes      which routes an app has, documented or not
literals    the texts that stand in the graded file, to try them
meter       counts password hashing, so that no test needs a stopwatch
hostile     the tokens and passwords that every lesson must refuse
transcript  what happened, for the learner to read when an attack succeeds
limit       ends a test that would not end
verdicts    what a test's end means: not built, open, refused
grade       grades a file in a process of its own
classroom   grades the files of a class
watch       runs again at every save
screen      the last lines on the terminal
"""
