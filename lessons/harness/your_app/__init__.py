"""The attacks of the lessons, pointed at an app of the reader's own: `pytest lessons/your_app`.

  command      from the command line to the exit code
  target       the app, in this process or a server on this machine
  description  your_app.toml: where the login of an app is, and how its tokens are used
  site         an app with its description: people, logins, and requests filled in
  attacks      what mallory tries, lesson by lesson
  run          tries them; findings has what came of each

A first run has no description, and writes one
  document     the OpenAPI documents of an app and its parts
  routes       what they say of routes; reading finds the login in them, and the rest
  guess        tries what was found; writing makes a file of it

What is told
  screen       the table, and what happened
  reports      the same as Markdown, JSON, JUnit XML and SARIF
"""
