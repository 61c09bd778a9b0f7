"""The nodes of an analysed query that are understood, with all their fields, PostgreSQL 14 to 18.

Read from ``src/include/nodes/primnodes.h`` and ``parsenodes.h`` of these branches. A node or a field that
is not here makes the query refused, so a new version of PostgreSQL can only take away.

What is done with a field: ``_`` nothing, it says nothing about what is run; ``t`` the type is judged; ``l`` a list
of types is judged; ``n`` the node or list of nodes below is judged; ``0`` it must be null, false, zero or empty;
``f``, ``a``, ``o``, ``s``, ``r`` function, aggregate, operator, sort operator, in_range function; ``!`` by code of :mod:`.judge`.
"""

from __future__ import annotations

_TEXT = {
    "QUERY": """_ querySource canSetTag hasAggs hasWindowFuncs hasSubLinks hasDistinctOn
        hasGroupRTE groupDistinct limitOption stmt_location stmt_len
        0 utilityStmt resultRelation hasModifyingCTE hasForUpdate hasRowSecurity isReturn mergeActionList mergeUseOuterJoin
        mergeTargetRelation mergeJoinCondition override onConflict returningList returningOldAlias returningNewAlias
        rowMarks withCheckOptions constraintDeps
        n cteList rtable jointree targetList groupClause groupingSets havingQual windowClause distinctClause sortClause
        limitOffset limitCount setOperations
        ! commandType rteperminfos hasTargetSRFs hasRecursive""",
    "RANGETBLENTRY": """_ alias eref rellockmode perminfoindex security_barrier jointype joinmergedcols joinleftcols joinrightcols
        join_using_alias funcordinality ctename ctelevelsup self_reference coltypmods colcollations lateral inh inFromCl
        0 tablesample tablefunc enrname enrtuples checkAsUser insertedCols updatedCols extraUpdatedCols securityQuals
        n subquery functions values_lists groupexprs
        l coltypes
        ! rtekind relid relkind joinaliasvars requiredPerms selectedCols""",
    "RTEPERMISSIONINFO": "_ inh 0 checkAsUser insertedCols updatedCols ! relid requiredPerms selectedCols",
    "ALIAS": "_ aliasname colnames",
    "RANGETBLREF": "_ rtindex",
    "FROMEXPR": "n fromlist quals",
    "JOINEXPR": "_ jointype isNatural usingClause join_using_alias alias rtindex n larg rarg quals",
    "RANGETBLFUNCTION": "_ funccolcount funccolnames funccoltypmods funccolcollations funcparams l funccoltypes n funcexpr",
    "TARGETENTRY": "_ resno resname ressortgroupref resorigtbl resorigcol resjunk n expr",
    "SORTGROUPCLAUSE": "_ tleSortGroupRef nulls_first hashable reverse_sort s eqop sortop",
    "GROUPINGSET": "_ kind location ! content",
    "WINDOWCLAUSE": """_ name refname frameOptions inRangeColl inRangeAsc inRangeNullsFirst winref copiedOrder
        n partitionClause orderClause startOffset endOffset 0 runCondition r startInRangeFunc endInRangeFunc""",
    "COMMONTABLEEXPR": """_ ctename aliascolnames ctematerialized location cterecursive cterefcount ctecolnames ctecoltypmods
        ctecolcollations l ctecoltypes n ctequery 0 search_clause cycle_clause""",
    "SETOPERATIONSTMT": "_ op all colTypmods colCollations l colTypes n larg rarg groupClauses",
    "VAR": """_ varno varattno vartypmod varcollid varnullingrels varlevelsup varreturningtype varnosyn varattnosyn
        location t vartype""",
    "CONST": "_ consttypmod constcollid constlen constbyval constisnull location constvalue t consttype",
    "AGGREF": """_ aggcollid inputcollid aggstar aggvariadic aggkind aggpresorted agglevelsup aggno aggtransno location
        0 aggsplit aggtranstype t aggtype l aggargtypes n aggdirectargs args aggorder aggdistinct aggfilter a aggfnoid""",
    "GROUPINGFUNC": "_ refs cols agglevelsup location n args",
    "WINDOWFUNC": """_ wincollid inputcollid winref winstar winagg location 0 runCondition
        t wintype n args aggfilter a winfnoid""",
    "SUBSCRIPTINGREF": """_ reftypmod refcollid refelemtype t refcontainertype refrestype
        n refupperindexpr reflowerindexpr refexpr 0 refassgnexpr""",
    "FUNCEXPR": "_ funcretset funcvariadic funcformat funccollid inputcollid location t funcresulttype n args f funcid",
    "NAMEDARGEXPR": "_ name argnumber location n arg",
    "OPEXPR": "_ opcollid inputcollid opretset location opfuncid t opresulttype n args o opno",
    "DISTINCTEXPR": "_ opcollid inputcollid opretset location opfuncid t opresulttype n args o opno",
    "NULLIFEXPR": "_ opcollid inputcollid opretset location opfuncid t opresulttype n args o opno",
    "SCALARARRAYOPEXPR": "_ useOr inputcollid location opfuncid hashfuncid negfuncid n args o opno",
    "BOOLEXPR": "_ boolop location n args",
    "SUBLINK": "_ subLinkType subLinkId operName location n testexpr subselect",
    "PARAM": "_ paramid paramtypmod paramcollid location t paramtype ! paramkind",
    "FIELDSELECT": "_ fieldnum resulttypmod resultcollid t resulttype n arg",
    "RELABELTYPE": "_ resulttypmod resultcollid relabelformat location t resulttype n arg",
    "COERCEVIAIO": "_ resultcollid coerceformat location ! resulttype n arg",
    "ARRAYCOERCEEXPR": "_ resulttypmod resultcollid coerceformat location t resulttype n arg elemexpr",
    "COLLATEEXPR": "_ location n arg ! collOid",
    "CASEEXPR": "_ casecollid location t casetype n arg args defresult",
    "CASEWHEN": "_ location n expr result",
    "CASETESTEXPR": "_ typeMod collation t typeId",
    "ARRAYEXPR": "_ array_collid multidims list_start list_end location t array_typeid element_typeid n elements",
    "ROWEXPR": "_ row_format colnames location t row_typeid n args",
    "COALESCEEXPR": "_ coalescecollid location t coalescetype n args",
    "MINMAXEXPR": "_ minmaxcollid inputcollid op location n args ! minmaxtype",
    "SQLVALUEFUNCTION": "_ typmod location t type ! op",
    "NULLTEST": "_ nulltesttype argisrow location n arg",
    "BOOLEANTEST": "_ booltesttype location n arg",
}


def _parsed(text: str) -> dict[str, str]:
    fields, action = {}, ""
    for word in text.split():
        if len(word) == 1:
            action = word
        else:
            fields[word] = action
    return fields


#: kind -> field -> what is done with it
NODE_KINDS = {kind: _parsed(text) for kind, text in _TEXT.items()}

#: ``SQLValueFunctionOp`` up to LOCALTIMESTAMP(n): what follows are roles, database and schema
LAST_TIME_FUNCTION = 8
#: ``PARAM_SUBLINK``: an output column of a subquery
SUBLINK_PARAMETER = "2"
#: ``CMD_SELECT``
SELECT = "1"
#: ``RTEKind``
RELATION, SUBQUERY, JOIN, FUNCTION, VALUES, CTE, GROUP = "0", "1", "2", "3", "5", "6", "9"
#: ``GroupingSetKind``
ROLLUP, CUBE = "2", "3"
#: ``FirstLowInvalidHeapAttributeNumber``: how far the members of selectedCols are above column numbers
COLUMN_OFFSET = 7
#: ``ACL_SELECT``
SELECT_PERMISSION = "2"
#: oids of the collations default, "C" and "POSIX"
COLLATIONS = frozenset({"100", "950", "951"})
