package main

const serveHelp = `cdn-sandbox runs the CDN export-tasks API on this machine, to try out clients in any language.

usage: cdn-sandbox [flags]
       cdn-sandbox sign [flags] METHOD URL     prints the headers of a signed request; sign -h shows more

It prints variables for a shell that clients read, and runs until Ctrl-C or SIGTERM. A browser shows its tasks and
the last requests at its address. The exit status is 0 after Ctrl-C or SIGTERM, 1 if it cannot run, 2 for wrong usage.

  cdn-sandbox -addr 127.0.0.1:0         on a free port
  cdn-sandbox -quota 20/1m              20 requests a minute, as the gateway allows
  cdn-sandbox -lag 3s                   lists are 3 seconds behind
  cdn-sandbox -fail list=503:20%        20 percent of the lists fail
  cdn-sandbox -fail create=lost:1       the first create takes effect, and its response is lost
  cdn-sandbox -fail create=CDN.0005     each create is refused with an error of the service
  cdn-sandbox -fail download=cut:2      the connection breaks in the first two files

-fail takes [REQUESTS=]FAULT[:NUMBER|:PERCENT%] and may be repeated. REQUESTS is list, create or download, by default
all requests. NUMBER or PERCENT says how many of them meet the fault, by default all. FAULT is one of:

  CDN.0005, APIGW.0308, SlowDown ...    an error code of the CDN, the gateway or the object store
  503                                   an HTTP status from 200 to 599
  reset                                 the connection breaks, the request has no effect
  lost                                  the connection breaks, the request takes effect
  cut                                   the body ends after 16 bytes
  slow                                  the body comes at 20 bytes a second
  html                                  the page of a proxy, with status 200

Flags:
`

const signHelp = `cdn-sandbox sign prints the headers of a signed request, one a line. curl reads them with -H @-.

usage: cdn-sandbox sign [flags] METHOD URL

  url=http://127.0.0.1:8086/v1/cdn/statistics/export-tasks
  cdn-sandbox sign GET "$url" | curl -H @- "$url"
  cdn-sandbox sign -data '{"stat_type":"flux"}' POST "$url" | curl -H @- --data-binary '{"stat_type":"flux"}' "$url"
  cdn-sandbox sign -data @export.json POST "$url" | curl -H @- --data-binary @export.json "$url"

The signature is valid for 15 minutes. The keys are those of -ak and -sk, else of the variables CLOUD_SDK_AK and
CLOUD_SDK_SK, with the token of CLOUD_SDK_SECURITY_TOKEN. If neither variable is set, they are the sandbox's own.

Flags:
`
